"""What `scripts/demo.sh` needs to have read or computed: free ports, answers, the admin pages as tables."""

import argparse
import json
import socket
import sys
import time
import urllib.request
from pathlib import Path

# An answer is cut to this many characters.
SHOWN = 160
# How long the access log may take to have a request that was answered.
LOG_SECONDS = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ports").add_argument("wanted", nargs="+", type=int)
    commands.add_parser("scraped").add_argument("pool")
    commands.add_parser("long-prompt").add_argument("model")
    commands.add_parser("pools")
    commands.add_parser("pick")
    answer = commands.add_parser("answer")
    for option in ["status", "answer", "access-log", "admin", "kind", "upstream", "model"]:
        answer.add_argument(f"--{option}", required=True)
    asked = parser.parse_args()
    actions = {
        "ports": lambda: print(*free_ports(asked.wanted)),
        "scraped": lambda: all_scraped(asked.pool),
        "long-prompt": lambda: print(json.dumps(long_prompt(asked.model))),
        "pools": lambda: show_pools(json.load(sys.stdin)),
        "pick": lambda: show_pick(json.load(sys.stdin)),
        "answer": lambda: check_answer(asked),
    }
    return actions[asked.command]()


def free_ports(wanted):
    """For each wanted port itself where nobody listens there, else a free one. All are held until all are found."""
    held = []
    for port in wanted:
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("0.0.0.0", port))
        except OSError:
            holder.bind(("0.0.0.0", 0))
        held.append(holder)
    return [holder.getsockname()[1] for holder in held]


def all_scraped(name):
    """Exits with 1 unless every endpoint of the pool on standard input has been scraped."""
    text = sys.stdin.read()
    pools = json.loads(text)["pools"] if text else []
    done = [endpoint["scraped"] for pool in pools if pool["name"] == name for endpoint in pool["endpoints"]]
    return 0 if done and all(done) else 1


def long_prompt(model):
    """A request whose prompt spans several prefix blocks, as a system prompt in front of every question does."""
    manual = " ".join(f"Rule {number}: answer briefly, and say so when you do not know." for number in range(40))
    messages = [{"role": "system", "content": manual}, {"role": "user", "content": "Say this is a test"}]
    return {"model": model, "stream": True, "messages": messages}


# --- an answer ----------------------------------------------------------------------------------------------


def check_answer(asked):
    """Shows an answer, and returns 1 if it is not what it should be."""
    headers = read_headers(f"{asked.answer}.head")
    body = read(f"{asked.answer}.body")
    shown, model, faults = read_stream(body) if asked.kind == "stream" else read_completion(body, headers)
    if asked.status != "200":
        faults.insert(0, f"status {asked.status} instead of 200")
    print(f"{asked.status} {shown}")

    expected = asked.kind if asked.kind in ("testupstream", "bedrock") else "vllm"
    kind, detail = kind_of_upstream(headers)
    print(f"   answered by  {detail}")
    if kind != expected:
        faults.append(f"answered by {kind} instead of {expected}")
    if model != asked.model:
        faults.append(f"the answer's model is {model!r} instead of {asked.model!r}")

    request_id = headers.get("x-request-id")
    line = logged(asked.access_log, request_id)
    if line is None:
        faults.append(f"request {request_id} is not in the access log")
    else:
        upstream = next((f"{key}/{line[key]}" for key in ("pool", "backend") if key in line), "nothing")
        endpoint = line.get("endpoint")
        name = endpoint_names(asked.admin).get(endpoint, endpoint)
        print(f"   picked       {upstream}: {name}" + (f" ({endpoint})" if name != endpoint else ""))
        print(f"   in the log   {request_id}: {line['duration_ms']} ms, attempts: {line['attempts']}{tokens(line)}")
        if upstream != asked.upstream:
            faults.append(f"sent to {upstream} instead of {asked.upstream}")
    for fault in faults:
        print(f"   WRONG        {fault}")
    return 1 if faults else 0


def read_completion(body, headers):
    """The answer's text, its model, and what is wrong with it. Test upstreams name the model in a header."""
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return shorten(body), None, ["the answer is not a chat completion"]
    return shorten(text), headers.get("x-model", answer.get("model")), []


def read_stream(body):
    """The same for the events of a stream."""
    events = [line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:")]
    faults = [] if events and events[-1] == "[DONE]" else ["the stream does not end with [DONE]"]
    text, model = "", None
    for event in events:
        if event == "[DONE]":
            continue
        try:
            chunk = json.loads(event)
            model = chunk["model"]
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        except (ValueError, KeyError, TypeError):
            faults.append(f"not an event of a chat completion: {shorten(event)}")
    return f"{len(events)} events: {shorten(text)}", model, faults


def kind_of_upstream(headers):
    """Which program answered, by what it says of itself."""
    if "x-inference-pod" in headers:
        return "vllm", f"a vLLM server (x-inference-pod: {headers['x-inference-pod']})"
    if "x-amzn-requestid" in headers:
        return "bedrock", f"AWS Bedrock's API (x-amzn-requestid: {headers['x-amzn-requestid']})"
    if "testupstream-id" in headers:
        return "testupstream", f"a test upstream (testupstream-id: {headers['testupstream-id']})"
    return "something unknown", "something unknown: none of x-inference-pod, x-amzn-requestid and testupstream-id"


def logged(access_log, request_id):
    """The access log's line of a request, which is written a moment after the answer."""
    deadline = time.monotonic() + LOG_SECONDS
    while request_id and time.monotonic() < deadline:
        for line in read(access_log).splitlines():
            if request_id in line:
                return json.loads(line)
        time.sleep(0.02)
    return None


def endpoint_names(admin):
    """Names of endpoints by address, from the admin listener."""
    with urllib.request.urlopen(f"http://{admin}/debug/pools", timeout=5) as page:
        report = json.load(page)
    groups = report["pools"] + report["backends"]
    return {each["address"]: name_of(each) for group in groups for each in group["endpoints"]}


def name_of(endpoint):
    return endpoint.get("name") or endpoint.get("authority") or endpoint["address"]


def tokens(line):
    counted = line.get("tokens", {})
    return "".join(f", {kind} tokens: {counted[kind]}" for kind in ("input", "output") if kind in counted)


# --- the admin pages ----------------------------------------------------------------------------------------


def show_pools(report):
    for pool in report["pools"]:
        print(f"\npool {pool['name']}: saturation {pool['saturation']:.2f}, queued {pool['queued_requests']}")
        rows = [["endpoint", "waiting", "running", "KV cache", "scraped", "in flight", "prefix blocks", "served", "state"]]
        for each in pool["endpoints"]:
            rows.append([
                name_of(each), *load(each["scraped"]), each["in_flight"], each["prefix_blocks"], each["served"],
                "ok" if each["ejection"] == "closed" else f"ejected ({each['ejection']})",
            ])
        table(rows)
    for backend in report["backends"]:
        print(f"\nbackend {backend['name']}: {backend['balancing']}")
        rows = [["endpoint", "in flight", "requests", "failures", "state"]]
        for each in backend["endpoints"]:
            state = "ok" if each["is_healthy"] else f"unhealthy: {each['check_error']}"
            rows.append([name_of(each), each["in_flight"], each["requests"], each["failures"], state])
        table(rows)


def load(scraped):
    if scraped is None:
        return ["-", "-", "-", "never"]
    age = f"{scraped['age_ms']} ms ago"
    return [scraped["waiting"], scraped["running"], f"{scraped['kv_usage']:.1%}", age]


def show_pick(decision):
    print(f"\nroute {decision['route']}, rule {decision['rule']}, model {decision['model']}: "
          f"{decision['prompt_bytes']} bytes of prompt in {decision['prefix_blocks']} blocks")
    endpoints = decision["endpoints"]
    scorers = sorted({scorer for each in endpoints for scorer in each["scores"]})
    names = [scorer.removesuffix("-scorer") for scorer in scorers]
    rows = [["endpoint", *names, "total", "blocks it has", ""]]
    for each in endpoints:
        scores = [f"{each['scores'][scorer]:.3f}" if scorer in each["scores"] else "-" for scorer in scorers]
        verdict = "<- picked" if each["address"] == decision["picked"] else each["filtered_by"] or ""
        total = "-" if each["total"] is None else f"{each['total']:.3f}"
        rows.append([name_of(each), *scores, total, each["matched_blocks"], verdict])
    table(rows)


def table(rows):
    """Prints rows under a headline, the first column to the left and the others to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    for row in texts:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("   " + "  ".join(cells).rstrip())


# --- small things -------------------------------------------------------------------------------------------


def read_headers(path):
    """The last head in a file that curl wrote, names in lower case."""
    head = read(path).replace("\r\n", "\n").strip().split("\n\n")[-1]
    pairs = [line.partition(":") for line in head.splitlines()[1:]]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def read(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def shorten(text):
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
