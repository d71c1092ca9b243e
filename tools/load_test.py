"""Loads a server of the serving API on this machine and says how many people or photos a second it serves, and how fast.

    python tools/load_test.py --server localhost:8500 --signature reconstruct_crops --clients 1,4,8 --batch 1,8,32 --seconds 20
    python tools/load_test.py --server localhost:8500 --soak 60 --pid $(pgrep -f "hund serve") --csv soak.csv
    python tools/load_test.py --server localhost:8500 --overload --clients 256   # hund serve --queue 4 --max-batch-size 4
    python tools/load_test.py --server localhost:8500,localhost:8510 --kill --seconds 30   # then end one of the two servers

Clients are threads of this process, each sends one request after the other. --soak: constant load while the server's memory is
sampled once a second. --overload: calm, then more clients than the queue holds, then calm again. --kill: whether requests
survive the end of one of the servers, which others start and end. Addresses that are not loopback are refused.
"""

import argparse
import ipaddress
import json
import math
import os
import platform
import shlex
import socket
import statistics
import sys

import load_clients
import load_memory
import numpy as np

from hund_tf import cli_values, images
from hund_tf.client import HundClient, HundServerError, HundUnavailableError, RetryPolicy
from hund_tf.client.channels import checked_addresses
from hund_tf.client.requests import CROP_SIZE

SAMPLE = os.path.join(os.path.dirname(os.path.abspath(images.__file__)), "assets", "samples", "street.jpg")
UNITS = {"reconstruct_crops": "people", "serving_default": "photos", "reconstruct": "photos"}
_OVERLOAD_CLIENTS = 256  # more than a server with --queue 4 --max-batch-size 4 lets wait


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        addresses = checked_loopback(options.server)
        requests = Requests(options.signature, options.image, options.outputs)
    except ValueError as error:
        parser.error(str(error))
    modes = [name for name in ("soak", "overload", "kill") if getattr(options, name)]
    if len(modes) > 1:
        parser.error(f"Only one of --soak, --overload and --kill can be had. Received: {modes}.")
    mode = modes[0] if modes else "measure"
    default = [_OVERLOAD_CLIENTS] if mode == "overload" else [1, 4, 8] if mode == "measure" else [4]
    options.clients = options.clients or default
    options.batch = options.batch or ([1, 8, 32] if mode == "measure" and options.signature != "reconstruct" else [1])
    if options.signature == "reconstruct" and options.batch != [1]:
        parser.error(f"--batch must be 1 with reconstruct, one photo a request. Received: {options.batch}.")
    if mode != "measure" and len(options.clients) + len(options.batch) > 2:
        parser.error(f"--{mode} takes one number of clients and one of rows. Received: {options.clients} and {options.batch}.")
    if mode == "soak" and (options.pid is None or load_memory.resident_mib(options.pid) is None):
        parser.error(f"--soak needs --pid, a process that runs, in /proc. Received: {options.pid}.")
    if mode == "kill" and len(addresses) < 2:
        parser.error(f"--kill needs two servers, A,B. Received: {options.server}.")
    command = "python tools/load_test.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    print(f"`{command}` on {_machine()}\n", flush=True)
    # no proxy may stand between; errors are counted, not tried again, but where that is the question
    with HundClient(addresses, options.timeout, retries=None if mode == "kill" else RetryPolicy(rounds=0, try_timeout=math.inf),
                    options=[("grpc.enable_http_proxy", 0)]) as client:
        try:
            run = {"measure": measure, "soak": soak, "overload": overload, "kill": kill}[mode]
            found, well = run(client, requests, options)
        except HundServerError as error:
            parser.exit(1, f"The server must answer. Received: {error}\n")
    if options.json:
        about = {"command": command, "machine": _machine(), "mode": mode, "unit": UNITS[options.signature]}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({**about, **found}, file, indent=1)
    return 0 if well else 1


class Requests:
    """Requests of one signature, all of one photo.

    Args:
        signature: str.
        path: str, of the photo.
        outputs: list of str, or None for all.

    Raises:
        ValueError: if the photo or an output cannot be used.
    """

    def __init__(self, signature, path, outputs):
        self._signature, self._outputs = signature, outputs
        self._photo = images.read_image(path)
        with open(path, "rb") as file:
            self._bytes = file.read()

    def ask(self, client, batch):
        """Function without arguments that asks for so many rows."""
        if self._signature == "reconstruct":
            return lambda: client.reconstruct(self._photo, outputs=self._outputs)
        if self._signature == "serving_default":
            return lambda: client.reconstruct_bytes([self._bytes] * batch, outputs=self._outputs)
        crops = np.repeat(_crop(self._photo)[None], batch, 0)
        intrinsics = [[CROP_SIZE, CROP_SIZE, CROP_SIZE / 2, CROP_SIZE / 2]] * batch
        return lambda: client.reconstruct_crops(crops, intrinsics, outputs=self._outputs)


def measure(client, requests, options):
    """Every combination of clients and rows, in turns; well if each that was not refused had an answer."""
    combinations = [(clients, batch) for batch in options.batch for clients in options.clients]
    outcomes, refused = {pair: [] for pair in combinations}, {}
    for batch in options.batch:
        try:
            requests.ask(client, batch)()
        except HundUnavailableError:
            raise
        except HundServerError as error:  # such as too many rows
            refused[batch] = str(error)
    for _ in range(options.repeats):
        for clients, batch in combinations:
            if batch not in refused:
                outcomes[clients, batch].append(load_clients.drive(requests.ask(client, batch), clients, options.seconds))
    lines = []
    for (clients, batch), runs in outcomes.items():
        line = {"clients": clients, "batch": batch}
        if runs:
            line.update(load_clients.merged(runs).report(batch))
            line["rows_per_second"] = statistics.median(run.report(batch)["rows_per_second"] for run in runs)
            lines.append(line)
    print(table(lines, ("clients", "batch"), UNITS[options.signature]))
    for batch, words in refused.items():
        print(f"batch {batch} is refused: {words}")
    answered = all(line["requests"] > sum(line["errors"].values()) for line in lines)
    return {"lines": lines, "refused": refused}, bool(lines) and answered


def soak(client, requests, options):
    """Constant load while the server's memory is watched; well if there was no error and the server lives."""
    batch, seconds = options.batch[0], 60 * options.soak
    ask = requests.ask(client, batch)
    ask()
    sampler = load_memory.Sampler(options.pid, seconds, options.csv)
    outcome = load_clients.drive(ask, options.clients[0], seconds, sampler)
    line, growth = {"clients": options.clients[0], "batch": batch, **outcome.report(batch)}, load_memory.slope(sampler.samples)
    print(table([line], ("clients", "batch"), UNITS[options.signature]))
    memory = [sample[1] for sample in sampler.samples]
    print(f"Memory of process {options.pid}: {memory[0]:.0f} MiB at the start, {memory[len(memory) // 4]:.0f} after the first "
          f"quarter, {memory[-1]:.0f} at the end, {max(memory):.0f} at most; slope after the first quarter "
          f"{'unknown' if growth is None else f'{growth:+.1f}'} MiB/hour; {sum(outcome.errors.values())} errors; {options.csv}")
    if sampler.ended:
        print(f"The server's process ended after {outcome.seconds:.0f} s.")
    return {"lines": [line], "slope_mib_per_hour": growth, "rss_mib": memory}, not (outcome.errors or sampler.ended)


def overload(client, requests, options):
    """Calm, too many clients, calm again; well if there were only refusals, and none in the end."""
    batch = options.batch[0]
    ask = requests.ask(client, batch)
    ask()
    lines = []
    for phase, clients, seconds in (("calm", 1, options.seconds / 4), ("overload", options.clients[0], options.seconds / 2),
                                    ("calm again", 1, options.seconds / 4)):
        line = load_clients.drive(ask, clients, seconds).report(batch)
        ok = line["requests"] - sum(line["errors"].values())
        share = ok / max(line["requests"], 1)
        lines.append({"phase": phase, "clients": clients, "OK": f"{share:.0%}", **line})
    print(table(lines, ("phase", "clients", "OK"), UNITS[options.signature]))
    others = set(lines[1]["errors"]) - {"RESOURCE_EXHAUSTED"}
    recovered = not lines[2]["errors"] and lines[2]["requests"] > 0
    print(f"{'Recovered' if recovered else 'Not recovered'}; other errors than RESOURCE_EXHAUSTED: {sorted(others) or 'none'}")
    return {"lines": lines, "recovered": recovered}, recovered and not others


def kill(client, requests, options):
    """Load on several servers, of which one is ended meanwhile; well if no request was lost."""
    batch = options.batch[0]
    ask = requests.ask(client, batch)
    ask()
    print(f"End one of {', '.join(client.addresses)} now, such as by kill -9; requests go on for {options.seconds:g} s.",
          flush=True)
    outcome = load_clients.drive(ask, options.clients[0], options.seconds)
    line = {"clients": options.clients[0], "batch": batch, **outcome.report(batch)}
    print(table([line], ("clients", "batch"), UNITS[options.signature]))
    lost = sum(outcome.errors.values())
    print(f"{lost} of {line['requests']} requests lost; longest time without an answer {outcome.longest_pause():.2f} s")
    return {"lines": [line], "longest_pause_s": outcome.longest_pause()}, not lost


def table(lines, names, unit):
    """Reports as a Markdown table; `names` are the columns before the numbers."""
    rows = [f"| {' | '.join(names)} | {unit}/s | p50, ms | p95, ms | p99, ms | requests | errors |",
            "|---" * (len(names) + 6) + "|"]
    for line in lines:
        numbers = ("" if line[key] is None else f"{line[key]:.1f}" for key in ("rows_per_second", "p50_ms", "p95_ms", "p99_ms"))
        errors = ", ".join(f"{count} {name}" for name, count in sorted(line["errors"].items())) or "none"
        rows.append("| " + " | ".join([*(str(line[name]) for name in names), *numbers, str(line["requests"]), errors]) + " |")
    return "\n".join(rows) + "\n"


def checked_loopback(text):
    """Addresses of this machine alone.

    Raises:
        ValueError: if one is none, or another machine's.
    """
    addresses = checked_addresses(text)
    for address in addresses:
        host = address.rpartition(":")[0].strip("[]")
        try:
            found = [host] if host != "localhost" else [entry[4][0] for entry in socket.getaddrinfo(host, None)]
            here = all(ipaddress.ip_address(one).is_loopback for one in found)
        except (ValueError, OSError):
            here = False
        if not here:
            raise ValueError("--server must be on this machine: localhost, 127.0.0.1 or [::1], and a port. "
                             f"Received: {address!r}.")
    return addresses


def _crop(photo):
    """The middle of a photo as a crop of one person."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(photo), (CROP_SIZE, CROP_SIZE)))


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--server", required=True, metavar="HOST:PORT", help="of this machine; several with commas between them")
    add("--signature", choices=sorted(UNITS), default="reconstruct_crops", help="default: %(default)s")
    add("--clients", type=_counts, metavar="N,N", help="at the same time (default: 1,4,8; 4 to soak and kill, 256 to overload)")
    add("--batch", type=_counts, metavar="N,N", help="crops or photos a request (default: 1,8,32)")
    add("--seconds", type=_positive, default=20.0, metavar="S", help="of each measurement (default: %(default)g)")
    add("--repeats", type=cli_values.count(1), default=1, help="throughput is the median of so many (default: %(default)s)")
    add("--image", default=SAMPLE, metavar="FILE", help="JPEG or PNG (default: the sample photo)")
    add("--outputs", type=lambda text: [name.strip() for name in text.split(",")], metavar="NAME,NAME", help="default: all")
    add("--timeout", type=_positive, default=60.0, metavar="S", help="of a request (default: %(default)g)")
    add("--json", metavar="FILE", help="also write the numbers here")
    add("--soak", type=_positive, metavar="MINUTES", help="constant load, the memory of --pid watched")
    add("--pid", type=cli_values.count(1), help="process of the server")
    add("--csv", default="soak.csv", metavar="FILE", help="of --soak (default: %(default)s)")
    add("--overload", action="store_true", help="more clients than the queue holds, such as --queue 4 --max-batch-size 4")
    add("--kill", action="store_true", help="of several servers one is ended by the user")
    return parser


def _counts(text):
    return [cli_values.count(1, 4096)(part) for part in text.split(",")]


def _positive(text):
    return cli_values.between(0, 1e6)(text)


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}, load before it {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
