#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the client tests, each file by itself and within a deadline.

usage: client_tests.py [OPTION…] FILE…
  --results FILE     append a row per test file (see tally.py)
  --label TEXT       what stands before the name of a file in these rows
  --logs FOLDER      where what each file prints is kept
  --node PROGRAM     the Node.js to run with (default: node)
  --deadline SECONDS a file that is not done by then has failed (default: 300)
  --jobs N           files at a time (default: processors less one)
  --rounds N         run every file so often (default: once)
  --tls              the programs under test speak TLS, with a certificate made for the run

Ends with 1 when a file failed. The longest files begin first (client_seconds.txt), so that no single one is
left over at the end. What a file took is told with what it took of a processor, it and all that it started:
far less of it means that it waits.

Each file has a keeper: a process that takes over whatever the file
leaves behind, however far it has detached itself, and ends it. So nothing of one file is there when
the next begins, and a file that hangs fails alone.
"""
import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tally  # noqa: E402

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE = 10  # seconds that what a file started has to end with it
LATE = 124  # what a keeper ends with when the deadline has passed
LEFT = 125  # what it ends with when the file passed, and left something behind
TAIL = 150  # lines shown of a file that failed
SECONDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client_seconds.txt")
SHORT = 10  # seconds that a file takes which is not named there


def children_of(pid):
    """The processes whose parent is `pid`, as (pid, name)."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                head, _, rest = file.read().rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        state, parent = rest.split()[:2]
        if int(parent) == pid and state not in "ZX":
            found.append((int(entry), head.partition("(")[2]))
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] > 0:
            pass
    except ChildProcessError:
        pass


def end_children(grace):
    """Wait `grace` seconds for what is left, then kill it, and its children as they come to us.

    Returns the names of what had to be killed."""
    end = time.monotonic() + grace
    killed = []
    while True:
        reap()
        left = children_of(os.getpid())
        if not left:
            return killed
        if time.monotonic() >= end:
            for pid, name in left:
                killed.append(name)
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def keep(options, path, log):
    """Be the keeper of one file; returns how it ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    def on_term(_number, _frame):
        end_children(0)
        os._exit(1)

    signal.signal(signal.SIGTERM, on_term)
    command = [options.node, "--test-reporter=tap", path]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        code = child.wait(options.deadline)
    except subprocess.TimeoutExpired:
        log.write(f"\nnot done within {options.deadline} s\n".encode())
        end_children(0)
        return LATE
    killed = end_children(GRACE)
    if killed:
        log.write(f"\nleft behind: {' '.join(sorted(killed))}\n".encode())
    return LEFT if killed and code == 0 else min(abs(code), 1)


def make_certificate(folder):
    """A certificate of this machine's own names, which the clients that are started trust."""
    cert, key = (os.path.join(folder, name) for name in ("peal.crt", "peal.key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    os.environ.update(PEAL_TLS_CERT=cert, PEAL_TLS_KEY=key, NODE_EXTRA_CA_CERTS=cert)


def name_of(path):
    return os.path.basename(path).replace(".test.mjs", "")


def read_seconds(path=SECONDS):
    """Seconds that files take, by their names."""
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {name: int(seconds) for seconds, name in rows}


def longest_first(paths):
    seconds = read_seconds()
    return sorted(paths, key=lambda path: -seconds.get(name_of(path), SHORT))


def run_file(options, number, path):
    name = name_of(path)
    name += f"-{number}" if options.rounds > 1 else ""
    log_path = os.path.join(options.logs, f"{name}.tap")
    start = time.monotonic()
    with open(log_path, "wb") as log:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = keep(options, path, log)
                log.flush()
            finally:
                os._exit(code)
    _, status, used = os.wait4(pid, 0)  # of it and of all whose end it has seen
    took = f"{time.monotonic() - start:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of a processor"
    return name, log_path, os.waitstatus_to_exitcode(status), took


def report(options, name, log_path, code, took):
    """Say how a file ended; returns whether it failed."""
    passed, failed, skipped = tally.count_tap(log_path, code)
    if options.results:
        tally.append(options.results, f"{options.label}: {name}", passed, failed, skipped)
    print(f"{'FAIL ' if failed else 'ok   '} {name}: {passed} passed, {failed} failed, "
          f"{skipped} skipped, {took}", flush=True)
    if failed:
        with open(log_path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        wrong = [at for at, line in enumerate(lines) if line.lstrip().startswith("not ok")]
        shown = lines[wrong[0]:wrong[0] + TAIL] if wrong else []
        print("\n".join(shown + ["…"] + lines[-20:]), flush=True)
    return failed > 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--results")
    parser.add_argument("--label", default="client tests")
    parser.add_argument("--logs", default="artifacts/logs")
    parser.add_argument("--node", default="node")
    parser.add_argument("--deadline", type=float, default=300)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="peal-tls-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        if options.tls:
            make_certificate(folder)
        runs = [(number + 1, path) for number in range(options.rounds) for path in longest_first(options.files)]
        for result in pool.map(lambda run: run_file(options, *run), runs):
            failures += report(options, *result)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
