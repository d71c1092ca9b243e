#!/usr/bin/env bash
# Exit code 0 if a version of the model is ready. The image has neither curl nor wget, but bash can open a socket.
#   healthcheck.sh [MODEL [PORT]]
set -euo pipefail
model="${1:-${MODEL_NAME:-hund}}"
port="${2:-8501}"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$model" >&3
# Reads on line by line until the word comes, so that a connection that stays open does not hold the check up.
while IFS= read -r -t 5 line <&3 || [ -n "$line" ]; do
  case "$line" in *'"AVAILABLE"'*) exit 0 ;; esac
done
exit 1
