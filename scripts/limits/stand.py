"""What runs: a Redis, relays to it, model servers and gateways, each a process of its own on ports that are free."""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import relay
from kinds import CONSUMERS, KINDS, NANO_INPUT, NANO_OUTPUT

GATEWAYS = 3
READY_SECONDS = 60
# Of two servers, the first fails of a hundred requests so many, and the second takes them over.
FAILS = 5
# Of streams that may be broken off, the upstream breaks off so many of a hundred.
BREAKS = 2
# How often it is looked how many requests run.
LOOK_SECONDS = 0.02
CLOCK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock.c")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(what, condition, process=None):
    end = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > end or (process and process.poll() is not None):
            raise SystemExit(f"limits: {what} did not happen within {READY_SECONDS} s, or its process has ended")
        time.sleep(0.02)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetch(url, body=None):
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as page:
        return page.read().decode()


def samples(page, name):
    """The samples of a metric: their labels as they stand there, and their values."""
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(name + "{"))
    return [(labels, float(value)) for labels, value in lines]


class Redis:
    """The store, with a clock that can be set."""

    def __init__(self, work, clock=False):
        self.folder, self.port, self.clock = os.path.join(work, "redis"), free_port(), clock
        self.clock_file, self.library = os.path.join(work, "clock"), os.path.join(work, "clock.so")
        self.set_clock(0)
        if clock:
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, CLOCK], check=True)
        self.start()

    def set_clock(self, seconds):
        """By how much its clock is ahead of the machine's. The file stays the one that the store looks into."""
        with open(self.clock_file, "r+b" if os.path.exists(self.clock_file) else "wb") as out:
            out.write(seconds.to_bytes(8, sys.byteorder, signed=True))

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        environment = dict(os.environ)
        if self.clock:
            environment |= {"LD_PRELOAD": self.library, "PENSTOCK_CLOCK": self.clock_file}
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                   "--appendfsync", "always", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        wait_for("the store's start", lambda: is_open(self.port), self.process)

    def kill(self, keeps=True):
        self.process.kill()
        self.process.wait()
        if not keeps:
            shutil.rmtree(self.folder)

    def ask(self, *words):
        """What redis-cli prints."""
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], check=True, capture_output=True, text=True).stdout

    def booked(self, policy):
        """What is booked in each counter of a policy's limit."""
        keys = [key for key in self.ask("--scan", "--pattern", "penstock:*").split() if policy in key and not key.endswith(":h")]
        return sorted(int(float(self.ask("HGET", key, "used").strip() or 0)) for key in keys)


class Servers:
    """Model servers: for each kind and consumer a pool."""

    def __init__(self, bin, work):
        self.ports, self.processes = {}, []
        for streams in (False, True):
            names = [(kind, who) for kind in KINDS if kind.streams == streams for who in CONSUMERS]
            count = sum(kind.servers for kind, _ in names)
            base = self.base(count)
            models = [f"{kind.name}.{who}" for kind, who in names]
            command = [f"{bin}/penstock-sim", "--model", "m", "--served-model-name", *models, "--host", "127.0.0.1",
                       "--port-base", str(base), "--count", str(count), "--max-num-seqs", "64"]
            if streams:
                command += ["--inter-token-latency", "5"]
            log = open(os.path.join(work, f"servers-{base}.log"), "w")
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            ports = iter(range(base, base + count))
            self.ports |= {key: [next(ports) for _ in range(key[0].servers)] for key in names}
            wait_for("the model servers' start", lambda: is_open(base + count - 1), self.processes[-1])
        for (kind, _), ports in self.ports.items():
            if kind.servers == 1:
                continue
            faults = [{"action": {"status": {"code": 503}}, "rate": FAILS / 100}]
            if kind.leaves:
                faults.append({"action": {"reset_after": {"chunks": 6}}, "rate": BREAKS / 100})
            fetch(f"http://127.0.0.1:{ports[0]}/sim/faults", json.dumps(faults).encode())

    @staticmethod
    def base(count):
        """The first of so many ports in a row that are free, below those that the kernel gives to connections."""
        while True:
            base = random.randrange(12_000, 32_000)
            if not any(is_open(port) for port in range(base, base + count)):
                return base

    def served(self, kind, who):
        """Tokens of prompts and of answers, by the servers' own counting."""
        pages = [fetch(f"http://127.0.0.1:{port}/metrics") for port in self.ports[kind, who]]
        names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
        return tuple(int(sum(value for page in pages for _, value in samples(page, name))) for name in names)

    def in_flight(self, ports):
        return sum(json.loads(fetch(f"http://127.0.0.1:{port}/sim/stats"))["in_flight"] for port in ports)

    def are_idle(self):
        return not any(self.in_flight(ports) for ports in self.ports.values())

    def watch(self, is_over):
        """The most that ran at a time in the servers of each limit of what runs at a time, as far as looks find it."""
        watched = {key: ports for key, ports in self.ports.items() if key[0].window == "now"}
        most = dict.fromkeys(watched, 0)
        while not is_over.wait(LOOK_SECONDS):
            for key, ports in watched.items():
                most[key] = max(most[key], self.in_flight(ports))
        return most

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


def digest(who):
    return "sha256:" + hashlib.sha256(key_of(who).encode()).hexdigest()


def key_of(who):
    return f"sk-of-{who}-while-limits-are-proven"


class Gateway:
    """One of those that share the limits."""

    def __init__(self, bin, work, number, store, servers, on_failure):
        self.number, self.bin, self.work = number, bin, work
        self.http, self.admin = free_port(), free_port()
        self.access_log = os.path.join(work, f"access-{number}.jsonl")
        self.file = os.path.join(work, f"gateway-{number}.yaml")
        with open(self.file, "w") as out:
            out.write(self.document(store, servers, on_failure))
        self.start()

    def document(self, store, servers, on_failure):
        lines = [
            "apiVersion: penstock.dev/v1alpha1", "kind: RoutingConfig", f"replicas: {GATEWAYS}",
            f'limitStore: {{redis: {{addresses: ["127.0.0.1:{store}"], deadline: 500ms}}, onFailure: {on_failure}}}',
            f'admin: {{address: "127.0.0.1:{self.admin}"}}', "shutdown: {linger: 0s}", f"accessLog: {{path: {self.access_log}}}",
            f'listeners: [{{name: http, address: "127.0.0.1:{self.http}", policies: [who]}}]',
            f'prices: [{{models: ["*"], per: Token, input: "{NANO_INPUT / 1e9:.9f}", output: "{NANO_OUTPUT / 1e9:.9f}"}}]',
            "consumers:", *(f'  - {{name: {who}, keys: ["{digest(who)}"]}}' for who in CONSUMERS),
            "policies:", "  - {name: who, authentication: {apiKey: {}}}",
            *(f"  - {{name: {kind.name}, limits: [{kind.document()}]}}" for kind in KINDS),
            "routes:", "  - name: all", "    rules:",
        ]
        for kind, who in servers.ports:
            name = f"{kind.name}.{who}"
            lines.append(f"      - {{models: [{name}], policies: [{kind.name}], targets: [{{pool: {name}}}], "
                         "retry: {attempts: 3, budgetPercent: 100, minRetriesPerSecond: 1000, backoff: 0s}}")
        lines.append("pools:")
        for (kind, who), ports in servers.ports.items():
            endpoints = ", ".join(f'{{address: "127.0.0.1:{port}"}}' for port in ports)
            lines.append(f"  - {{name: {kind.name}.{who}, metrics: {{enabled: false}}, endpoints: [{endpoints}]}}")
        return "\n".join(lines) + "\n"

    def start(self):
        self.log = open(os.path.join(self.work, f"gateway-{self.number}.log"), "a")
        command = [f"{self.bin}/penstock", "serve", "--config", self.file]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        wait_for("a gateway's start", lambda: is_open(self.http) and is_open(self.admin), self.process)

    def charged(self):
        """What was counted of each policy's limit, by its metrics."""
        page = fetch(f"http://127.0.0.1:{self.admin}/metrics")
        sums = dict.fromkeys((kind.name for kind in KINDS), 0)
        for labels, value in samples(page, "penstock_limit_used_total"):
            sums[labels.partition('policy="')[2].partition('"')[0]] += int(value)
        return sums

    def was_cut_off(self):
        """Whether it ever took the store for gone, or had no answer in time."""
        page = fetch(f"http://127.0.0.1:{self.admin}/metrics")
        calls = samples(page, "penstock_limit_store_calls_total")
        return any(value for labels, value in calls if 'outcome="away"' in labels or 'outcome="deadline"' in labels)

    def held(self):
        """What each request held of its limit, by its id. Of one that is killed, the last lines are missing."""
        with open(self.access_log, errors="replace") as log:
            for line in log:
                if line.endswith("\n") and '"charged"' in line:
                    entry = json.loads(line)
                    yield entry["request_id"], entry["charged"][0]["held"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as a roll-out does: what it has leased is given back."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.log.close()


class Stand:
    """All of it."""

    def __init__(self, bin, work, on_failure, clock):
        os.makedirs(work)
        self.redis = Redis(work, clock)
        self.relays = relay.Relays(GATEWAYS, self.redis.port)
        self.servers = Servers(bin, work)
        self.gateways = [Gateway(bin, work, number, port, self.servers, on_failure)
                         for number, port in enumerate(self.relays.ports)]

    def stop(self):
        for gateway in self.gateways:
            gateway.kill()
        self.servers.stop()
        self.relays.stop()
        self.redis.kill()
