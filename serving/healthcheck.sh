#!/usr/bin/env bash
# Exit code 0 if a version of the model is AVAILABLE, else 1, after 5 s (LIMIT) at most. Asks the REST port, whose HTTP code
# is 200 whatever state the versions are in. The image has neither curl nor wget, but bash can open a socket.
#   healthcheck.sh [MODEL [PORT [LIMIT]]]
set -euo pipefail
export model="${1:-${MODEL_NAME:-hund}}" port="${2:-8501}"

is_available() {
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return
  printf 'GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$model" >&3
  # Ends at the first match, so that a connection that stays open does not hold the check up.
  grep -q '"state": *"AVAILABLE"' <&3
}
export -f is_available

timeout "${3:-5}" bash -c is_available || exit 1
