#!/usr/bin/env python3
"""Regression gates: instructions of the hot parts, counted by callgrind, against committed baselines.

A part may take up to 3 % more instructions than its baseline. `--build` only builds. `--accept` writes new baselines, which then show in the
commit that needs them. Instructions are counted, not time, so that a busy machine makes no difference; each part is
run with two counts and the difference taken, so that starting the process makes none either.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"), "release")
BASELINES = os.path.join(ROOT, "perf", "baselines.json")
ALLOWED = 1.03
# How often each part is run: enough that the difference of two runs is not that of two starts.
COUNTS = {
    "peek": (20, 120),
    "pick": (200, 2200),
    "metrics": (20, 120),
    "route": (1000, 11000),
    "tap": (1000, 11000),
    "encode": (100, 1100),
    "decode": (1000, 11000),
}
# What the requests go to, the sizes of their bodies in bytes, and how often each is sent: agents' and documents' as well as
# a chat's.
REQUESTS = {
    "request": ("pool", 1200, (300, 1300)),
    "guarded": ("guarded", 1200, (300, 1300)),
    "request-32k": ("pool", 32_000, (200, 800)),
    "request-220k": ("pool", 220_000, (100, 400)),
    "passed": ("passed", 1200, (300, 1300)),
    "passed-32k": ("passed", 32_000, (200, 800)),
    "translated": ("translated", 1200, (300, 1300)),
    "translated-32k": ("translated", 32_000, (200, 800)),
}
# What streams come from, and how many events each of them has.
STREAMS = {"event": ("passed", (50, 250)), "event-translated": ("translated", (50, 250))}
# So many streams one after the other, and so long between two events of one, so that each is read for itself, however slow
# the machine: two that are read at once take less, so that a fast one would fail the baseline of a slow one.
STREAMED, STEP_MS = 5, 20
# What is translated may take so many times the instructions that the same takes where it is passed through, in one run.
# System calls, which are more than half of a request's CPU time and the same for both, are not counted here.
RATIOS = {("translated", "passed"): 1.5, ("translated-32k", "passed-32k"): 1.5}
# Knowing who asks, a rule in CEL, counting by three limits and telling the client how they stand may take so many
# instructions more than the same request without. 6,000 is what is aimed at; this is what holds until then.
DIFFERENCES = {("guarded", "request"): 30_000}
ROUTES = 200
# Copies and fills by vectors: `rep movsb` and `rep stosb`, which glibc takes for long ones, are one instruction to a
# processor and one a byte to callgrind, so that a copy of 16 KB would count as much as the tenth of a request.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=100000000:glibc.cpu.x86_rep_stosb_threshold=100000000"

DOCUMENT = """
apiVersion: penstock.dev/v1alpha1
kind: RoutingConfig
admin: {{enabled: false}}
listeners: [{{name: http, address: "127.0.0.1:{port}"{policies}}}]
routes: [{{name: all, rules: [{rules}]}}]
{upstreams}
"""
# Who may ask, and how much: what a listener names, the rest of the document, and what requests show.
GUARD = ", policies: [keys, rules, limits]", """
consumers: [{{name: search, keys: ['{digest}'], tags: {{team: web}}}}]
policies:
- {{name: keys, authentication: {{apiKey: {{}}}}}}
- name: rules
  authorization: {{defaultAction: Deny, rules: [{{name: web, action: Allow, cel: "{rule}"}}]}}
- name: limits
  limits:
  - {{name: requests, amount: 1000000, window: {{tokenBucket: 1m}}, per: [consumer]}}
  - {{name: tokens, count: TotalTokens, amount: 1000000000, window: {{sliding: 1h}}, per: ["tag:team"]}}
  - {{name: cost, count: Cost, amount: 100000, window: {{calendar: Month}}, per: [consumer, model]}}
prices: [{{models: ["*"], input: "2.50", output: "10"}}]
"""
RULE = "tags.team == 'web' && model.startsWith('model-')"
KEY = "sk-ps-1GzWq0Bv5tLr8Yc3Kd7Xn2Mf6Hp9Js4Ta"
# What requests go to: a rule's target, and where that is.
UPSTREAMS = {
    "guarded": (
        "pool: servers",
        "pools: [{{name: servers, metrics: {{enabled: false}}, endpoints: [{{address: '{host}:{port}'}}]}}]",
    ),
    "pool": (
        "pool: servers",
        "pools: [{{name: servers, metrics: {{enabled: false}}, endpoints: [{{address: '{host}:{port}'}}]}}]",
    ),
    "passed": (
        "backend: provider",
        "backends: [{{name: provider, api: {{schema: OpenAI}}, endpoints: [{{host: {host}, port: {port}}}]}}]",
    ),
    "translated": (
        "backend: provider",
        "backends: [{{name: provider, api: {{schema: Anthropic}}, endpoints: [{{host: {host}, port: {port}}}]}}]",
    ),
}


def say(text):
    print(f"gates: {text}", flush=True)


def build():
    """Builds everything as it is released, as perf.sh does so that neither builds anew, and returns the gates' program."""
    say("building")
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    run = ["cargo", "build", "--release", "--locked", "--quiet", "--bins"]
    for package in ("penstock-perf", "penstock-proxy", "penstock-gates"):
        run += ["-p", package]
    subprocess.run(run, cwd=ROOT, check=True, env={**os.environ, "PENSTOCK_COMMIT": commit.strip()})
    return os.path.join(RELEASE, "penstock-gates")


def callgrind(out, command):
    """The command under callgrind, without randomized addresses."""
    return ["setarch", "-R", "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet", *command]


def instructions(out):
    """The total of a profile, or of all parts of one."""
    total = 0
    for name in sorted(os.listdir(os.path.dirname(out))):
        if name.startswith(os.path.basename(out)):
            with open(os.path.join(os.path.dirname(out), name)) as profile:
                found = re.findall(r"^(?:totals|summary): (\d+)", profile.read(), re.M)
            total += int(found[-1]) if found else 0
    return total


def part(program, name, directory):
    """Instructions of one run of a part."""
    totals = []
    for count in COUNTS[name]:
        out = os.path.join(directory, f"{name}-{count}")
        subprocess.run(callgrind(out, [program, name, str(count)]), check=True, stdout=subprocess.DEVNULL)
        totals.append(instructions(out))
    few, many = COUNTS[name]
    return (totals[1] - totals[0]) / (many - few)


def listening(process):
    for line in process.stdout:
        if line.startswith("listening on "):
            return line.split()[-1].strip()
    sys.exit("gates: the upstream did not start")


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop_counting(gateway):
    """How much of what a process has is torn down when it ends differs from run to run, by 3,000 instructions a request."""
    # The access log's writer gathers lines for 50 ms, and a processor that is emulated takes its time.
    time.sleep(1)
    subprocess.run(["callgrind_control", "--instr=off", str(gateway.pid)], check=True, stdout=subprocess.DEVNULL)


def served(directory, upstream, load, step_ms=0):
    """Instructions of a gateway that serves a load, started and ended, with so many routes that work for each shows."""
    target, upstreams = UPSTREAMS[upstream]
    rules = [f"{{models: [model-{number}], targets: [{{{target}}}]}}" for number in range(1, ROUTES + 1)]
    perf = os.path.join(RELEASE, "penstock-perf")
    server = subprocess.Popen([perf, "upstream", "--step-ms", str(step_ms)], stdout=subprocess.PIPE, text=True)
    gateway = None
    try:
        port = free_port()
        document = os.path.join(directory, "penstock.yaml")
        host, its_port = listening(server).rsplit(":", 1)
        with open(document, "w") as file:
            upstreams = upstreams.format(host=host, port=its_port)
            policies = ""
            if upstream == "guarded":
                policies, guard = GUARD
                upstreams += guard.format(digest="sha256:" + hashlib.sha256(KEY.encode()).hexdigest(), rule=RULE)
                load = [*load, "--header", f"authorization: Bearer {KEY}"]
            file.write(DOCUMENT.format(port=port, policies=policies, upstreams=upstreams, rules=", ".join(rules)))
        out = os.path.join(tempfile.mkdtemp(dir=directory), "request")
        # One thread, so that nothing depends on which of them was woken.
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        command += callgrind(out, [os.path.join(RELEASE, "penstock"), "serve", "--config", document])
        gateway = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait(port, gateway)
        command = [perf, "load", f"http://127.0.0.1:{port}", "--model", "model-1", "--concurrency", "1", "--threads", "1",
                   "--warmup", "0s", "--quiet", *map(str, load)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        stop_counting(gateway)
        gateway.terminate()
        gateway.wait(timeout=60)
        return instructions(out)
    finally:
        for process in (gateway, server):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def request(directory, upstream, size, counts):
    """Instructions of one proxied request of `size` bytes with an answer of 1 KB."""
    few, many = (served(directory, upstream, ["--input-bytes", size, "--requests", count]) for count in counts)
    return (many - few) / (counts[1] - counts[0])


def event(directory, upstream, counts):
    """Instructions of one event of a proxied stream."""
    load = ["--stream", "--input-bytes", 1200, "--requests", STREAMED, "--output-tokens"]
    few, many = (served(directory, upstream, [*load, count], STEP_MS) for count in counts)
    return (many - few) / (counts[1] - counts[0]) / STREAMED


def least(baseline, measure):
    """What is measured; where that is too much, the least of five. How often a request is polled, and what timers and the
    allocator's thread do meanwhile, depends on the machine: that only ever adds."""
    count = measure()
    for _ in range(4):
        if baseline is None or count <= baseline * ALLOWED:
            break
        say(f"{count:,} instructions: measured again")
        count = min(count, measure())
    return count


def wait(port, gateway):
    import socket

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and gateway.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("gates: the gateway did not start under callgrind")


def main():
    os.environ["GLIBC_TUNABLES"] = TUNABLES
    if "--build" in sys.argv[1:]:
        build()
        return
    accepts = "--accept" in sys.argv[1:]
    if not shutil.which("valgrind"):
        sys.exit("gates: valgrind is missing: `scripts/setup.sh gates` installs it")
    version = subprocess.run(["rustc", "--version"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    known = {}
    if not accepts and os.path.exists(BASELINES):
        with open(BASELINES) as file:
            known = json.load(file)["instructions"]
    program = build()
    counts = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in COUNTS:
            counts[name] = round(part(program, name, directory))
            say(f"{name}: {counts[name]:,} instructions")
        for name, (upstream, size, how_often) in REQUESTS.items():
            counts[name] = least(known.get(name), lambda: round(request(directory, upstream, size, how_often)))
            say(f"{name}: {counts[name]:,} instructions")
        for name, (upstream, how_many) in STREAMS.items():
            counts[name] = least(known.get(name), lambda: round(event(directory, upstream, how_many)))
            say(f"{name}: {counts[name]:,} instructions")
    ratios = [
        f"{name}: {counts[name] / counts[base]:.2f} times {base}, and {most} are allowed"
        for (name, base), most in RATIOS.items()
        if counts[name] > counts[base] * most
    ]
    if ratios:
        sys.exit("gates: translation takes too much:\n  " + "\n  ".join(ratios))
    differences = [
        f"{name}: {counts[name] - counts[base]:,} instructions more than {base}, and {most:,} are allowed"
        for (name, base), most in DIFFERENCES.items()
        if counts[name] - counts[base] > most
    ]
    if differences:
        sys.exit("gates: policies take too much:\n  " + "\n  ".join(differences))
    if accepts:
        with open(BASELINES, "w") as file:
            json.dump({"rustc": version, "instructions": counts}, file, indent=2)
            file.write("\n")
        say(f"wrote {os.path.relpath(BASELINES, ROOT)}")
        return
    if not os.path.exists(BASELINES):
        sys.exit("gates: there are no baselines yet: run `make gates ACCEPT=1` and commit perf/baselines.json")
    with open(BASELINES) as file:
        baselines = json.load(file)
    if baselines["rustc"] != version:
        say(f"the baselines are of {baselines['rustc']}, and this is {version}: make gates ACCEPT=1 writes new ones")
    failed = [
        f"{name}: {count:,} instructions, {count / baselines['instructions'][name] - 1:+.1%} of {baselines['instructions'][name]:,}"
        for name, count in counts.items()
        if count > baselines["instructions"].get(name, count) * ALLOWED
    ]
    missing = [name for name in counts if name not in baselines["instructions"]]
    if missing:
        sys.exit(f"gates: no baselines of {', '.join(missing)} yet: run `make gates ACCEPT=1` and commit perf/baselines.json")
    if failed:
        sys.exit(
            "gates: more than 3 % over the baseline:\n  " + "\n  ".join(failed) +
            "\nMake it cheaper; or, if it is worth its price, run `make gates ACCEPT=1`, commit perf/baselines.json, and"
            " say in the message what the instructions buy."
        )
    say("all within 3 % of their baselines")


if __name__ == "__main__":
    main()
