#!/usr/bin/env python3
"""Runs Claude Code against a gateway: `claude_code.py CLAUDE GATEWAY UPSTREAMS`, where UPSTREAMS is JSON.

It is told to read a file. The simulators answer with a call of the tool that the prompt names, and then say back what the
tool found: so what is in the file is in the answer only if the call went through the gateway and back, and so did its result.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor

SECRET = "the violet hour is at a quarter past four"
# Its first system block differs from request to request.
BILLING = "x-anthropic-billing-header"
TIMEOUT_SECONDS = 120


def main():
    claude, gateway, upstreams = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    upstreams = [upstream for upstream in upstreams if upstream["name"] != "Cohere"]
    with ThreadPoolExecutor(2) as pool:
        for results in pool.map(lambda upstream: against(claude, gateway, upstream), upstreams):
            for case, error in results:
                print(json.dumps({"client": "Claude Code", "upstream": results.name, "case": case, "error": error}), flush=True)


class Results(list):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def check(self, case, condition, what):
        self.append((case, None if condition else what))


def against(claude, gateway, upstream):
    results = Results(upstream["name"])
    with tempfile.TemporaryDirectory(prefix="penstock-claude.") as work:
        file = os.path.join(work, "fact.txt")
        with open(file, "w", encoding="utf-8") as out:
            out.write(f"{SECRET}\n")
        prompt = f"What is in the file? sim:call Read {json.dumps({'file_path': file})}"
        try:
            turns = []
            for _ in range(2):
                before = [len(seen(url)) for url in upstream["simulators"]]
                done = run(claude, gateway, upstream["model"], prompt, work)
                told = f"{done.get('subtype')}: {done.get('result')!r:.300}"
                results.check("a tool is used", SECRET in str(done.get("result")) and done.get("num_turns") == 2, told)
                requests = [request for url, count in zip(upstream["simulators"], before) for request in seen(url)[count:]]
                turns.append([body for body in requests if "sim:call" in body and ('"tools"' in body or '"toolConfig"' in body)])
        except Exception as error:  # noqa: BLE001 - whatever fails is a result
            results.check("a turn", False, f"{type(error).__name__}: {error}")
            return results
    bodies = [body for requests in turns for body in requests]
    results.check("requests arrive", all(len(requests) >= 2 for requests in turns), f"{[len(requests) for requests in turns]}")
    # As it is means with that block: Anthropic's own service wants it.
    is_own = upstream["name"] in ("Anthropic", "AWSAnthropic", "GCPAnthropic", "pool as is")
    has_billing = [BILLING in body for body in bodies]
    is_right = all(has_billing) if is_own else not any(has_billing)
    results.check("its changing block", is_right, f"in {sum(has_billing)} of {len(bodies)}")
    prefixes = [prefix(requests[0]) for requests in turns if requests]
    results.check("the same prompt twice", len(prefixes) == 2 and prefixes[0] == prefixes[1], first_difference(prefixes))
    return results


def run(claude, gateway, model, prompt, work):
    home = os.path.join(work, "home")
    os.makedirs(home, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"], "HOME": home, "ANTHROPIC_BASE_URL": gateway, "ANTHROPIC_AUTH_TOKEN": "sk-of-the-client",
        "ANTHROPIC_MODEL": model, "ANTHROPIC_SMALL_FAST_MODEL": model, "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "4000",
        "DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1",
    }
    # The folder that it works in has no more than the file.
    command = [claude, "-p", prompt, "--output-format", "json", "--allowedTools", "Read"]
    done = subprocess.run(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT_SECONDS)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}") from None


def seen(url):
    """The bodies of the requests that a simulator remembers."""
    with urllib.request.urlopen(f"{url}/sim/requests", timeout=10) as page:
        return [request.get("body", "") for request in json.load(page)]


def prefix(body):
    """What comes before a model's answer, without the block that differs and who asks."""
    body = json.loads(body)
    body = {name: value for name, value in body.items() if name not in ("metadata", "user", "requestMetadata", "labels")}
    if isinstance(body.get("system"), list):
        body["system"] = [block for block in body["system"] if BILLING not in json.dumps(block)]
    return json.dumps(body)


def first_difference(prefixes):
    if len(prefixes) != 2:
        return f"{len(prefixes)} first requests"
    at = next((at for at, pair in enumerate(zip(*prefixes)) if pair[0] != pair[1]), min(map(len, prefixes)))
    return " and ".join(repr(text[max(0, at - 60):at + 60]) for text in prefixes)


main()
