#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peal and the floor, side by side: runs scenarios, prints one table and one JSON line each.

Rounds of Peal and floor alternate; medians are compared. Every server is started for its round on
free ports, in a folder of its own, and stopped by its id. See README.md for the method.
"""
import argparse
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SECRET = "benchmark-secret-of-32-bytes-or-more"
API_KEY = "benchmark-key-of-peal"
LIMITS = {"unauthenticated_per_address": 1000000, "joins_per_minute": 1000000,
          "joins_burst": 1000000, "inbox_per_minute": 1000000, "inbox_burst": 1000000,
          "api_per_minute": 1000000}
PR_SET_PDEATHSIG = 1
UNITS = {"cpu_us_per_delivery": "CPU us per delivery", "deliveries_per_cpu_s": "deliveries per CPU s"}
ROW = "{:<26}{:>14}{:>14}{:>8}{:>9}  {}"


class Setup:
    """Where the programs are, and how much of the machine each side gets."""

    def __init__(self, arguments):
        self.build = os.path.abspath(arguments.build)
        self.folder = tempfile.mkdtemp(prefix="peal-bench-")
        self.smoke = arguments.smoke
        self.quick = arguments.quick
        self.peer = False
        self.rounds = 1 if arguments.smoke else arguments.rounds
        self.seconds = 0.5 if arguments.smoke else arguments.seconds
        cores = sorted(os.sched_getaffinity(0))
        pinned = len(cores) > 1 and not arguments.smoke
        self.server_cores = {cores[0]} if pinned else set(cores)
        self.generator_cores = {cores[1]} if pinned else set(cores)

    def program(self, name):
        return os.path.join(self.build, name)


def dies_with_us(cores):
    def prepare():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, cores)
    return prepare


class Server:
    """A process that prints where it listens; used with `with`."""

    def __init__(self, command, cores, pattern, folder):
        self.log = open(os.path.join(folder, "server.log"), "a+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT,
                                        cwd=folder, preexec_fn=dies_with_us(cores))
        self.pid = self.process.pid
        self.match = self._wait_for(re.compile(pattern))

    def _wait_for(self, pattern):
        path = self.log.name
        deadline = time.monotonic() + 120  # under valgrind, beside others
        while time.monotonic() < deadline:
            with open(path, encoding="utf-8") as text:
                content = text.read()
            found = pattern.search(content)
            if found:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise RuntimeError("server did not start:\n" + content)

    @property
    def port(self):
        return int(self.match.group(1))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


RECOVERY = 'namespace "/" { recovery = on }\nrecovery { sessions = 20000 }\n'


def start_peal(setup, folder, *extra, settings="", prefix=()):
    config = os.path.join(folder, "peal.conf")
    with open(config, "w", encoding="utf-8") as file:
        limits = " ".join(f"{name} = {value}" for name, value in LIMITS.items())
        file.write(f'auth {{ secret = "{SECRET}" api_key = "{API_KEY}" }}\nlimits {{ {limits} }}\n'
                   'room_type "bench" { access = { any } presence = off }\n' + settings)
    command = [*prefix, setup.program("peal"), "serve", "--config", config, "--listen-host", "127.0.0.1",
               "--listen-port", "0", "--listen-internal-port", "0", "--shards", "1",
               "--store-path", os.path.join(folder, "peal.db"), *extra]
    return Server(command, setup.server_cores, r"public=[0-9.]+:([0-9]+)", folder)


def start_peer(setup, folder):
    """A stock Socket.IO server in place of Peal."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_socketio.mjs")
    return Server(["node", script], setup.server_cores, r"public=[0-9.]+:([0-9]+)", folder)


def start_floor(setup, folder, variant, frame):
    command = [setup.program("tests/bench/bench_floor"), variant, frame]
    return Server(command, setup.server_cores, r"(?m)^([0-9]+)$", folder)


def start_redis(setup, folder, cores=None):
    command = ["redis-server", "--port", "0", "--save", "", "--appendonly", "no", "--unixsocket",
               os.path.join(folder, "redis.sock"), "--dir", folder]
    for _ in range(20):
        port = free_port()
        command[2] = str(port)
        try:
            server = Server(command, cores or setup.generator_cores, r"(Ready to accept connections)", folder)
        except RuntimeError:
            continue
        server.redis_port = port
        return server
    raise RuntimeError("no free port for redis-server")


class Postgres:
    """A cluster of its own with fsync on; used with `with`."""

    def __init__(self, setup, folder):
        self.owner = "postgres" if os.geteuid() == 0 else None
        self.data = os.path.join(folder, "pg")
        self.folder = folder
        if self.owner:
            os.chmod(folder, 0o755)
        os.mkdir(self.data)
        if self.owner:
            shutil.chown(self.data, self.owner, self.owner)
        self.log = open(os.path.join(folder, "postgres.log"), "a+", encoding="utf-8")
        self._run(setup, "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--no-locale").wait()
        for _ in range(20):
            self.port = free_port()
            self.process = self._run(setup, "postgres", "-D", self.data, "-p", str(self.port), "-k",
                                     "", "-c", "listen_addresses=127.0.0.1")
            if self._ready(setup):
                return
        raise RuntimeError("postgres did not start")

    def _run(self, setup, name, *arguments):
        return subprocess.Popen([postgres_program(name), *arguments], stdout=self.log,
                                stderr=subprocess.STDOUT, cwd=self.data, user=self.owner,
                                group=self.owner, preexec_fn=dies_with_us(setup.server_cores))

    def _ready(self, setup):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            probe = self._run(setup, "pg_isready", "-h", "127.0.0.1", "-p", str(self.port))
            if probe.wait() == 0:
                return True
            time.sleep(0.1)
        return False

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.log.close()


def postgres_program(name):
    """Debian keeps servers off the PATH."""
    found = shutil.which(name)
    if found:
        return found
    for version in sorted(os.listdir("/usr/lib/postgresql"), reverse=True):
        path = f"/usr/lib/postgresql/{version}/bin/{name}"
        if os.path.exists(path):
            return path
    raise RuntimeError(f"{name} is not installed")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def generate(setup, servers, **options):
    """Run the load generator against `servers`; its line of JSON."""
    command = [setup.program("tests/bench/peal-bench"), "--secret", SECRET, "--api-key", API_KEY,
               "--port", ",".join(str(s.port) for s in servers),
               "--server-pid", ",".join(str(s.pid) for s in servers)]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                         preexec_fn=dies_with_us(setup.generator_cores))
    if not run.stdout:
        raise RuntimeError(run.stderr.decode())
    return json.loads(run.stdout)


def record_frame(setup, mode, scenario="fanout"):
    """The very bytes that Peal sends: for one event, or as the answer to one request."""
    path = os.path.join(setup.folder, f"{mode}-{scenario}.frame")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory() as folder, start_peal(setup, folder) as peal:
            generate(setup, [peal], scenario=scenario, mode=mode, conns=1, rate=5, seconds=0.4,
                     record=path)
    return path


def run_peal(setup, extra=(), settings="", **options):
    with tempfile.TemporaryDirectory() as folder:
        start = start_peer(setup, folder) if setup.peer else start_peal(setup, folder, *extra,
                                                                        settings=settings)
        with start as server:
            return generate(setup, [server], **options)


def run_floor(setup, variant, frame, **options):
    options.update(mode="bare", publisher="marks", rooms=min(1, options.get("rooms", 1)))
    with tempfile.TemporaryDirectory() as folder:
        with start_floor(setup, folder, variant, frame) as floor:
            return generate(setup, [floor], **options)


def median(runs, *path):
    values = []
    for run in runs:
        for name in path:
            run = run[name]
        values.append(run)
    return statistics.median(values)


class Report:
    """Collects rows; whether every run was complete."""

    def __init__(self):
        self.rows = []
        self.fine = True
        self.prefix = ""

    def check(self, *runs):
        for run in runs:
            if not run["ok"]:
                print("not fine:", json.dumps(run), flush=True)
                self.fine = False

    def add(self, name, peal, floor, target, better, unit, **details):
        """`better`: which way the ratio is to go, "high" or "low"."""
        ratio = peal / floor if floor else None
        missed = ratio is not None and target is not None and (
            ratio < target if better == "high" else ratio > target)
        row = {"scenario": self.prefix + name, "peal": peal, "floor": floor, "ratio": ratio, "target": target,
               "better": better, "unit": unit, "missed": missed, **details}
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def print_table(self):
        print(ROW.format("scenario", "Peal", "floor", "ratio", "target", "unit"))
        for row in self.rows:
            sign = "≥" if row["better"] == "high" else "≤"
            print(ROW.format(
                row["scenario"], shorten(row["peal"]), shorten(row["floor"]),
                shorten(row["ratio"]),
                f"{sign} {row['target']}" if row["target"] is not None else "–",
                row["unit"] + ("  MISSED" if row["missed"] else "")))


def shorten(value):
    if value is None:
        return "–"
    if abs(value) >= 100000:
        return f"{value / 1e6:.3f} M"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def rounds_of(setup, report, peal, floor):
    """Alternate both; two lists of results."""
    first, second = [], []
    for _ in range(setup.rounds):
        first.append(peal())
        second.append(floor())
        report.check(first[-1], second[-1])
    return first, second


def fan(setup, report, name, variant, mode="sio", **options):
    frame = record_frame(setup, mode)
    options = {"scenario": "fanout", "seconds": setup.seconds, **options}
    return rounds_of(setup, report, lambda: run_peal(setup, mode=mode, **options),
                     lambda: run_floor(setup, variant, frame, **options))


def modes(setup, socketio, *others):
    """A peer speaks Socket.IO alone."""
    return (socketio,) if setup.peer else (socketio, *others)


def bench_idle(setup, report):
    sizes = [50] if setup.smoke else [2000, 10000, 19000]
    for mode, target in modes(setup, ("sio", 1024), ("ws", 896), ("stream", None)):
        for size in sizes:
            run = run_peal(setup, scenario="idle", mode=mode, conns=size, rooms=0, inbox="yes",
                           seconds=setup.seconds)
            report.check(run)
            report.add(f"idle {mode} {size}", run["bytes_per_connection"], None, target, "low",
                       "bytes per connection", **{"cpu_s": run["server_cpu_s"]})
            report.rows[-1]["missed"] = target is not None and run["bytes_per_connection"] > target
        size = sizes[0] if setup.smoke else 10000
        run = run_nodes(setup, 1, scenario="idle", mode=mode, conns=size, rooms=0, inbox="yes",
                        seconds=setup.seconds)
        report.check(run)
        report.add(f"idle {mode} {size}, Redis", run["bytes_per_connection"], None, None, "low",
                   "bytes per connection")


def bench_sparse(setup, report):
    for mode in modes(setup, "sio", "ws"):
        for rate in ([30] if setup.smoke else [10, 30]):
            peal, floor = fan(setup, report, "sparse", "message", mode, rate=rate,
                              conns=50 if setup.smoke else 1000)
            name = f"sparse {mode} {rate}/s x 1,000"
            report.add(name, median(peal, "cpu_us_per_delivery"),
                       median(floor, "cpu_us_per_delivery"), 1.2, "low", "CPU us per delivery")
            report.add(name + " p99", median(peal, "latency_ms", "p99"),
                       median(floor, "latency_ms", "p99"), 1.5, "low", "ms")


def bench_streams(setup, report):
    """Server-sent events beside WebSockets of peal.json.v1: one write each, and many in a turn."""
    for name, unit, conns, rate, better in (("sparse", "cpu_us_per_delivery", 1000, 30, "low"),
                                            ("dense", "deliveries_per_cpu_s", 1000, 1000, "high")):
        options = {"scenario": "fanout", "seconds": setup.seconds, "rate": 30 if setup.smoke else rate,
                   "conns": 50 if setup.smoke else conns}
        streams, sockets = rounds_of(setup, report, lambda: run_peal(setup, mode="stream", **options),
                                     lambda: run_peal(setup, mode="ws", **options))
        report.add(f"streams {name} {rate}/s x 1,000", median(streams, unit), median(sockets, unit), None, better,
                   UNITS[unit] + ", against /ws")
        report.add(f"streams {name} {rate}/s x 1,000 p99", median(streams, "latency_ms", "p99"),
                   median(sockets, "latency_ms", "p99"), None, "low", "ms, against /ws")


def dense(setup, report, name, conns, rate):
    for mode in modes(setup, "sio", "ws"):
        peal, floor = fan(setup, report, name, "window", mode, rate=100 if setup.smoke else rate,
                          conns=50 if setup.smoke else conns)
        report.add(f"{name} {mode} {rate}/s", median(peal, "deliveries_per_cpu_s"),
                   median(floor, "deliveries_per_cpu_s"), 0.5, "high", "deliveries per CPU s",
                   p99_ms=[median(peal, "latency_ms", "p99"), median(floor, "latency_ms", "p99")])


def bench_dense_1k(setup, report):
    dense(setup, report, "dense 1,000", 1000, 1000)


def bench_dense_10k(setup, report):
    dense(setup, report, "dense 10,000", 10000, 300)


def bench_overload(setup, report):
    """Deliveries at four times the best rate against those at the best rate."""
    conns = 20 if setup.smoke else 1000
    options = {"scenario": "fanout", "conns": conns, "seconds": setup.seconds, "drain": 2}
    best, rate = None, 100 if setup.smoke else 1000
    while rate <= (100 if setup.smoke else 64000):
        run = run_peal(setup, rate=rate, **options)
        if not run["ok"] or run["latency_ms"]["p99"] > 250 and not setup.smoke:
            break
        best, rate = run, rate * 2
    if best is None:
        report.add("overload", 0, None, 0.8, "high", "no rate without loss")
        report.check(run)
        return
    runs = [run_peal(setup, rate=rate / 2 * 4, **options) for _ in range(setup.rounds)]
    report.add(f"overload {rate * 2:.0f}/s", median(runs, "deliveries_per_s"),
               best["deliveries_per_s"], 0.8, "high", "deliveries per s, against own best",
               rss_peak=max(run["rss_peak"] for run in runs),
               lost=median(runs, "lost"), dropped=median(runs, "dropped"))
    if setup.smoke:
        report.check(*runs)


def bench_echo(setup, report):
    answer = record_frame(setup, "sio", "echo")
    options = {"scenario": "echo", "conns": 20 if setup.smoke else 200,
               "seconds": setup.seconds}
    peal, floor = rounds_of(setup, report, lambda: run_peal(setup, **options),
                            lambda: run_floor(setup, "echo", answer, **options))
    report.add("echo", median(peal, "echoes_per_cpu_s"), median(floor, "echoes_per_cpu_s"), 0.75,
               "high", "echoes per CPU s",
               p99_ms=[median(peal, "latency_ms", "p99"), median(floor, "latency_ms", "p99")])


def bench_storm(setup, report):
    answer = record_frame(setup, "sio", "echo")
    options = {"scenario": "storm", "conns": 20 if setup.smoke else 100, "rooms": 0,
               "seconds": setup.seconds}
    for mode in modes(setup, "sio", "ws"):
        peal, floor = rounds_of(setup, report, lambda m=mode: run_peal(setup, mode=m, **options),
                                lambda: run_floor(setup, "message", answer, **options))
        report.add(f"storm {mode}", median(peal, "handshakes_per_cpu_s"),
                   median(floor, "handshakes_per_cpu_s"), 0.5, "high", "handshakes per CPU s")


MAKE_KEY = """
const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
fs.writeFileSync(process.argv[1], privateKey.export({ type: 'pkcs8', format: 'pem' }));
fs.writeFileSync(process.argv[2], publicKey.export({ type: 'spki', format: 'pem' }));
"""


def make_key(folder):
    """A private RSA key, and the block that lets Peal accept what it signs."""
    key, public = os.path.join(folder, "key.pem"), os.path.join(folder, "public.pem")
    subprocess.run(["node", "-e", MAKE_KEY, key, public], check=True)
    return key, f'jwt_key "bench" {{ algorithm = RS256 file = "{public}" }}\n'


def count_instructions(setup, settings, **options):
    """What Peal with four shards executes, from its start to its end, while clients come."""
    with tempfile.TemporaryDirectory() as folder:
        peal = start_peal(setup, folder, "--shards", "4", settings=settings, prefix=(
            "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"))
        with peal:
            run = generate(setup, [peal], scenario="idle", rooms=0, seconds=0.1, ramp=20, **options)
            peal.process.send_signal(signal.SIGTERM)
            peal.process.wait()
            with open(peal.log.name, encoding="utf-8") as text:
                return run, int(re.search(r"Collected : ([0-9]+)", text.read()).group(1))


def bench_handshakes(setup, report):
    """Instructions of a handshake and its end; three of four clients come to another shard than their user's."""
    key, settings = make_key(setup.folder)
    for mode in ("sio", "ws"):
        for name, options in (("HS256", {}), ("RS256", {"key": key})):
            if setup.smoke:
                report.check(run_peal(setup, ("--shards", "4"), settings=settings, scenario="idle", mode=mode,
                                      conns=20, rooms=0, seconds=0.1, **options))
                continue
            few, less = count_instructions(setup, settings, mode=mode, conns=200, **options)
            many, more = count_instructions(setup, settings, mode=mode, conns=1000, **options)
            report.check(few, many)
            report.add(f"handshake {mode} {name}", (more - less) / 800 / 1000, None, None, "low",
                       "thousand instructions")


def run_store(setup, database, **options):
    """Peal in front of a new store; `database`: an empty Postgres, or None for SQLite."""
    extra = ("--store-url", database.url) if database else ()
    return run_peal(setup, extra, scenario="store", publisher="store", rooms=0, inbox="yes",
                    seconds=setup.seconds, **options)


def run_store_floor(setup, database, rows, requests, users):
    """The same statements on a new store, with nobody in front of it."""
    with tempfile.TemporaryDirectory() as folder:
        url = database.url if database else "sqlite:" + os.path.join(folder, "peal.db")
        command = [setup.program("tests/bench/bench_store_floor"), url, str(rows), str(requests),
                   str(users), str(setup.seconds)]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                             preexec_fn=dies_with_us(setup.server_cores))
    if not run.stdout:
        raise RuntimeError(run.stderr.decode())
    return json.loads(run.stdout)


def on_new_database(setup, engine, work):
    if engine == "sqlite":
        return work(None)
    with tempfile.TemporaryDirectory() as folder, Postgres(setup, folder) as database:
        return work(database)


def bench_store(setup, report):
    users, posts, publishers = (20, 10, 8) if setup.smoke else (1000, 250, 8)
    rate = 100 if setup.smoke else 1000
    for engine in ("sqlite", "postgres"):
        runs = [on_new_database(setup, engine, lambda database: run_store(
            setup, database, rate=rate, publishers=32, conns=users)) for _ in range(setup.rounds)]
        report.check(*runs)
        p99 = median(runs, "latency_ms", "p99")
        report.add(f"store {engine} post to device p99", p99, None, 25, "low",
                   f"ms at {rate} posts/s")
        report.rows[-1]["missed"] = p99 >= 25 and not setup.smoke
        peal, floor = rounds_of(
            setup, report,
            lambda e=engine: on_new_database(setup, e, lambda database: run_store(
                setup, database, rate=0, publishers=publishers, posts=posts, conns=users)),
            lambda e=engine: on_new_database(setup, e, lambda database: run_store_floor(
                setup, database, posts, publishers, users)))
        report.add(f"store {engine} rows", median(peal, "deliveries_per_s"),
                   median(floor, "rows_per_s"), 0.7, "high", "rows per s, against the store alone")


# A transaction of an application: what pgbench has built in (TPC-B), and, of the second one, a post.
APPLICATION = """\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
%sEND;
"""
POST = "SELECT peal.post('user-' || (:aid % 1000), 'order', 'An order was taken', data => '{\"order\": 7}');\n"


def run_pgbench(setup, database, *arguments):
    command = [postgres_program("pgbench"), "-h", "127.0.0.1", "-p", str(database.port), "-U", "postgres",
               *map(str, arguments), "postgres"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                         preexec_fn=dies_with_us(setup.generator_cores))
    if run.returncode != 0:
        raise RuntimeError(run.stderr.decode() + run.stdout.decode())
    return run.stdout.decode()


def query(setup, database, text):
    command = [postgres_program("psql"), "-h", "127.0.0.1", "-p", str(database.port), "-U", "postgres", "-tAc",
               text, "postgres"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True,
                          preexec_fn=dies_with_us(setup.generator_cores)).stdout.decode().strip()


def run_application(setup, database, clients, scale, post):
    """Transactions a second of an application that posts, or does not."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as script:
        script.write(APPLICATION % (POST if post else ""))
        script.flush()
        length = ("-t", 20) if setup.smoke else ("-T", max(1, round(setup.seconds)))
        text = run_pgbench(setup, database, "-n", "-c", clients, "-j", 2, *length, "-s", scale,
                           "-M", "prepared", "-f", script.name)
    done = int(re.search(r"number of transactions actually processed: ([0-9]+)", text)[1])
    failed = int(re.search(r"number of failed transactions: ([0-9]+)", text)[1])
    return {"ok": failed == 0 and done > 0, "done": done, "tps": float(re.search(r"tps = (\S+)", text)[1])}


def posts_and_none(setup, report, database, clients, scale):
    """Rounds with a post in each transaction, and without, in turn."""
    return rounds_of(setup, report, lambda: run_application(setup, database, clients, scale, True),
                     lambda: run_application(setup, database, clients, scale, False))


def wait_until_taken(setup, report, database, posted):
    """How long that took; all must be stored then."""
    began = time.monotonic()
    while query(setup, database, "SELECT count(*) FROM peal.outbox") != "0":
        if time.monotonic() > began + 300:
            raise RuntimeError("what was posted is not taken")
        time.sleep(0.05)
    took = time.monotonic() - began
    stored = int(query(setup, database, "SELECT count(*) FROM peal.notification"))
    report.check({"ok": stored == posted, "stored": stored, "posted": posted})
    return took


def bench_outbox(setup, report):
    """What an application's own transactions lose by a post in each, with nobody who takes it and while a hub does."""
    clients, scale = (4, 1) if setup.smoke else (50, 50)
    with tempfile.TemporaryDirectory() as folder, Postgres(setup, folder) as database:
        run_pgbench(setup, database, "-i", "-q", "-s", scale)
        with start_peal(setup, folder, "--store-url", database.url):
            pass  # it makes peal.post
        posting, alone = posts_and_none(setup, report, database, clients, scale)
        backlog = sum(run["done"] for run in posting)
        report.add("outbox transactions", median(posting, "tps"), median(alone, "tps"), 0.95, "high",
                   "per s, with a post in each against none")
        with start_peal(setup, folder, "--store-url", database.url):
            took = wait_until_taken(setup, report, database, backlog)
            report.add("outbox taken", backlog / took, None, None, "high", "posts per s, of a backlog")
            posting, alone = posts_and_none(setup, report, database, clients, scale)
            wait_until_taken(setup, report, database, backlog + sum(run["done"] for run in posting))
        report.add("outbox transactions, taken", median(posting, "tps"), median(alone, "tps"), None, "high",
                   "per s, while a hub on the same core stores the posts")


INBOX_READS = ("latest 20", "unread", "overview", "connect", "sync")


def run_inbox(setup, *arguments):
    """What bench_inbox has measured, by name."""
    environment = {**os.environ, "PEAL_BENCH_SECRET": SECRET, "PEAL_BENCH_API_KEY": API_KEY}
    run = subprocess.run([setup.program("tests/bench/bench_inbox"), *map(str, arguments)], check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                         preexec_fn=dies_with_us(setup.generator_cores))
    if run.returncode != 0:
        raise RuntimeError(run.stderr.decode() + run.stdout.decode())
    if arguments[0] == "explain":
        return run.stdout.decode()
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {line.get("name", "load"): line for line in lines}


def bench_inbox(setup, report):
    """Reads of full inboxes: the bare statement over one connection, the hub, and 2,000 a second."""
    users, rows, count, rate = (20, 1000, 20, 50) if setup.smoke else (
        (2000, 100000, 500, 2000) if setup.quick else (100000, 5000000, 5000, 2000))
    with tempfile.TemporaryDirectory() as folder, Postgres(setup, folder) as database, \
            start_peal(setup, folder, "--store-url", database.url) as peal:
        began = time.monotonic()
        loaded = run_inbox(setup, "load", database.url, users, rows)["load"]["rows"]
        print(json.dumps({"loaded": loaded, "users": users, "seconds": round(time.monotonic() - began, 1)}),
              flush=True)
        bare, through, offered = [], [], []
        for _ in range(setup.rounds):
            bare.append(run_inbox(setup, "statements", database.url, users, rows, count))
            through.append(run_inbox(setup, "reads", peal.port, users, rows, count))
            offered.append(run_inbox(setup, "offer", peal.port, users, rows, rate, setup.seconds))
        for name in INBOX_READS:
            for quantile in ("p50", "p99"):
                report.add(f"inbox {name} {quantile}", median(through, name, quantile),
                           median(bare, name, quantile), None, "low", "ms, against the bare statement")
        p95 = median(offered, "offered", "p95")
        report.add(f"inbox {rate} reads/s p95", p95, None, 100, "low", "ms",
                   per_s=median(offered, "offered", "per_s"), hits=median(offered, "offered", "hits"))
        report.rows[-1]["missed"] = p95 >= 100 and not setup.smoke
        if not setup.smoke:
            print(run_inbox(setup, "explain", database.url, users, rows), flush=True)


def run_nodes(setup, count, **options):
    with tempfile.TemporaryDirectory() as folder, start_redis(setup, folder) as redis:
        nodes = []
        try:
            for number in range(count):
                place = os.path.join(folder, str(number))
                os.mkdir(place)
                nodes.append(start_peal(setup, place, "--bus-url",
                                        f"redis://127.0.0.1:{redis.redis_port}",
                                        "--bus-prefix", f"bench{number}"))
            return generate(setup, nodes, publisher="redis", publish_port=redis.redis_port,
                            **options)
        finally:
            for node in nodes:
                node.stop()


def bench_cluster(setup, report):
    """One node against two with as many members each; stock emitter format over Redis."""
    members = 20 if setup.smoke else 1000
    options = {"scenario": "fanout", "seconds": setup.seconds,
               "rate": 100 if setup.smoke else 1000}
    two, one = rounds_of(setup, report,
                         lambda: run_nodes(setup, 2, conns=2 * members, **options),
                         lambda: run_nodes(setup, 1, conns=members, **options))
    report.add("cluster, two nodes", median(two, "deliveries_per_cpu_s"),
               median(one, "deliveries_per_cpu_s"), 0.6, "high",
               "deliveries per CPU s, against one node")


def run_pair(setup, settings, **options):
    """Two nodes that are one: the same Redis, the same Postgres."""
    def run(database):
        with tempfile.TemporaryDirectory() as folder, start_redis(setup, folder) as redis:
            places = [os.path.join(folder, name) for name in ("a", "b")]
            for place in places:
                os.mkdir(place)
            shared = ("--bus-url", f"redis://127.0.0.1:{redis.redis_port}", "--store-url", database.url)
            with start_peal(setup, places[0], *shared, settings=settings) as first:
                with start_peal(setup, places[1], *shared, settings=settings) as second:
                    return generate(setup, [first, second], **options)
    return on_new_database(setup, "postgres", run)


def bench_rejoin(setup, report):
    """Everybody comes back at once as who they were: what one costs must not depend on how many."""
    sizes = [40] if setup.smoke else [2000, 10000, 19000]
    options = {"scenario": "rejoin", "mode": "sio", "inbox": "yes", "seconds": min(setup.seconds, 1)}
    costs = []
    for size in sizes:
        runs = [run_peal(setup, settings=RECOVERY, conns=size, rooms=size // 10, **options)
                for _ in range(setup.rounds)]
        report.check(*runs)
        costs.append(median(runs, "cpu_us_per_client"))
        report.add(f"rejoin {size}", costs[-1], None, None, "low", "CPU us per client",
                   user_us=median(runs, "user_us_per_client"),
                   first_user_us=median(runs, "first_user_us_per_client"))
    report.add("rejoin over clients", max(costs), min(costs), 1.5, "low",
               "CPU us per client, dearest against cheapest")
    size = sizes[min(1, len(sizes) - 1)]
    runs = [run_pair(setup, RECOVERY, conns=size, rooms=size // 10, **options)
            for _ in range(setup.rounds)]
    report.check(*runs)
    report.add(f"rejoin {size}, the other node", median(runs, "cpu_us_per_client"), None, None, "low",
               "CPU us per client", user_us=median(runs, "user_us_per_client"))


def growth(setup, report, name, sizes):
    """`sizes`: (connections, rooms, events a second); the dearest against the cheapest."""
    costs = []
    for conns, rooms, rate in sizes:
        runs = [run_peal(setup, scenario="fanout", mode="sio", conns=conns, rooms=rooms, rate=rate,
                         seconds=setup.seconds) for _ in range(setup.rounds)]
        report.check(*runs)
        costs.append(median(runs, "cpu_us_per_delivery"))
        report.add(f"growth {conns} in {rooms} rooms, {rate}/s", costs[-1], None, None, "low",
                   "CPU us per delivery")
    report.add("growth over " + name, max(costs), min(costs), 1.5, "low",
               "CPU us per delivery, dearest against cheapest")


def bench_growth(setup, report):
    """Sparse events, one write each: 100 to 10,000 members of a room, then 1 to 1,000 rooms."""
    if setup.smoke:
        growth(setup, report, "members", [(20, 1, 20), (60, 1, 20)])
        growth(setup, report, "rooms", [(20, 2, 20), (60, 6, 60)])
        return
    growth(setup, report, "members", [(100, 1, 20), (1000, 1, 20), (10000, 1, 5)])
    growth(setup, report, "rooms", [(10000, 1, 5), (10000, 10, 50), (10000, 100, 500),
                                    (10000, 1000, 2000)])


VALUES = f'api_key "values" {{ key = "{API_KEY}-values" scopes = {{values}} }}\n'
VALUE_CONNECTIONS = 50  # as redis-benchmark has without an option


def run_values(setup, peal, verb, keys, size):
    """What bench_values has measured."""
    run = subprocess.run([setup.program("tests/bench/bench_values"), verb, str(peal.port), str(peal.pid),
                          str(VALUE_CONNECTIONS), str(keys), str(size), str(setup.seconds)],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                         env={**os.environ, "PEAL_BENCH_API_KEY": API_KEY + "-values"},
                         preexec_fn=dies_with_us(setup.generator_cores))
    if not run.stdout:
        raise RuntimeError(run.stderr.decode())
    return json.loads(run.stdout)


def run_redis_benchmark(setup, redis, verb, keys, size, pipeline=1):
    """Requests a second of redis-benchmark's own SET or GET of as many bytes."""
    count = 2000 if setup.smoke else int(setup.seconds * 40000) * (4 if pipeline > 1 else 1)
    run = subprocess.run(["redis-benchmark", "-p", str(redis.redis_port), "-t", verb, "-d", str(size), "-r",
                          str(keys), "-n", str(count), "-c", str(VALUE_CONNECTIONS), "-P", str(pipeline), "--csv"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True,
                         preexec_fn=dies_with_us(setup.generator_cores))
    return float(re.search(r'"(?:SET|GET)","([0-9.]+)"', run.stdout.decode()).group(1))


def values_round(setup, keys, size, memory):
    """One round: what Peal does in front of Redis, then Redis asked directly."""
    settings = VALUES + f"values {{ bytes = {memory} }}\n"
    runs = {}
    with tempfile.TemporaryDirectory() as folder, start_redis(setup, folder) as redis:
        with start_peal(setup, folder, "--bus-url", f"redis://127.0.0.1:{redis.redis_port}", settings=settings) as peal:
            runs["put"] = run_values(setup, peal, "put", keys, size)
            run_values(setup, peal, "get", keys, size)  # what was read is in memory, as far as it has room
            for verb in ("get", "miss", "mget"):
                runs[verb] = run_values(setup, peal, verb, keys, size)
    floor = {}
    with tempfile.TemporaryDirectory() as folder, start_redis(setup, folder, setup.server_cores) as redis:
        floor["put"] = run_redis_benchmark(setup, redis, "set", keys, size)
        floor["get"] = run_redis_benchmark(setup, redis, "get", keys, size)
        floor["mget"] = run_redis_benchmark(setup, redis, "get", keys, size, pipeline=100)
    floor["miss"] = floor["get"]
    return runs, floor


def bench_values(setup, report):
    """Values over HTTP beside redis-benchmark of the same size: from memory, and with Redis asked each time."""
    size, keys = 100, 200 if setup.smoke else 20000
    for name, memory in (("memory", "64MiB"), ("Redis", "1MiB")):
        rounds = [values_round(setup, keys, size, memory) for _ in range(setup.rounds)]
        for verb in ("put", "get", "miss", "mget"):
            runs = [run[verb] for run, _ in rounds]
            report.check(*runs)
            items = 100 if verb == "mget" else 1
            report.add(f"values {verb}, {name}", median(runs, "per_s") * items,
                       statistics.median([floor[verb] for _, floor in rounds]), None, "high",
                       "keys per s" if verb == "mget" else "requests per s", cpu_us=median(runs, "cpu_us"),
                       p99_ms=median(runs, "p99_ms"), hits=median(runs, "hits"), absent=median(runs, "absent"))


def bench_tls(setup, report):
    """Connections over TLS beside plain ones, on one loop: idle bytes, an event to all, handshakes."""
    connections, events = (20, 5) if setup.smoke else (1000, 500)
    with tempfile.TemporaryDirectory() as folder:
        cert, key = (os.path.join(folder, name) for name in ("bench.crt", "bench.key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost"],
                       check=True, capture_output=True)
        command = [setup.program("tests/bench/bench_tls"), cert, key, str(connections), str(events)]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for _ in range(setup.rounds)]
    figure = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    report.add("tls idle", figure["tls_idle"], figure["plain_idle"], None, "low", "bytes per connection, heap")
    report.add("tls fan-out", figure["tls_us"], figure["plain_us"], None, "low", "CPU us per delivery")
    report.add("tls handshakes, full", figure["full_per_s"], None, None, "high", "per CPU s")
    report.add("tls handshakes, resumed", figure["resumed_per_s"], figure["full_per_s"], None, "high", "per CPU s")


SCENARIOS = {
    "idle": bench_idle,
    "fanout-sparse": bench_sparse,
    "fanout-dense-1k": bench_dense_1k,
    "fanout-dense-10k": bench_dense_10k,
    "streams": bench_streams,
    "overload": bench_overload,
    "echo": bench_echo,
    "storm": bench_storm,
    "handshakes": bench_handshakes,
    "rejoin": bench_rejoin,
    "store": bench_store,
    "outbox": bench_outbox,
    "inbox": bench_inbox,
    "cluster": bench_cluster,
    "growth": bench_growth,
    "values": bench_values,
    "tls": bench_tls,
}


# What a stock Socket.IO server can be asked to do as well.
PEER_SCENARIOS = ("idle", "fanout-sparse", "fanout-dense-1k", "fanout-dense-10k", "overload",
                  "echo", "storm", "growth")


def describe():
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return {"date": time.strftime("%Y-%m-%d"), "machine": platform.machine(),
            "kernel": platform.release(), "cores": os.cpu_count(),
            "commit": commit.decode().strip(), "raised limits": LIMITS}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, help="build folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--quick", action="store_true", help="two rounds of two seconds; small inboxes")
    parser.add_argument("--smoke", action="store_true",
                        help="every scenario for half a second, few connections, nothing lost")
    parser.add_argument("--peer", choices=["socketio"],
                        help="the same scenarios again with a stock Node server in Peal's place")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO",
                        help=", ".join(SCENARIOS) + "; default: all")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 2, 2
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error("no scenario " + ", ".join(unknown))
    setup = Setup(arguments)
    report = Report()
    print(json.dumps(describe()), flush=True)
    try:
        chosen = arguments.scenarios or list(SCENARIOS)
        for name in chosen:
            SCENARIOS[name](setup, report)
        setup.peer = arguments.peer is not None
        report.prefix = f"{arguments.peer}: "
        for name in [name for name in chosen if setup.peer and name in PEER_SCENARIOS]:
            SCENARIOS[name](setup, report)
    finally:
        shutil.rmtree(setup.folder)
    if not setup.smoke:
        report.print_table()
    return 0 if report.fine else 1


if __name__ == "__main__":
    sys.exit(main())
