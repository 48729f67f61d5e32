#!/usr/bin/env python3
"""Runs real SDKs and Claude Code against a gateway in front of simulated providers, and prints what came of each pair of the two.

The gateway has the document of `examples/providers.yaml`, with free ports and keys of its own. Each suite (`python/`, `node/`)
is a process in its language's environment, and tells its results line by line. At last the simulators are asked for what
they saw: the gateway's credentials everywhere, and nowhere those of the clients.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLE = os.path.join(HERE, "..", "..", "examples", "providers.yaml")
READY_SECONDS = 60
AWS = ("authorization", "AWS4-HMAC-SHA256 Credential=AKIAOFTHEGATEWAY/")
GOOGLE = ("authorization", "Bearer ya29.")
ON_BEDROCK = ("amazon.titan-embed-text-v2:0", "cohere.embed-v4:0", "amazon.nova-2-multimodal-embeddings-v1:0",
              "cohere.rerank-v3-5:0")
# The name of the column, the model that clients name and that which the upstream serves, its ports in the example, what it is
# to be shown (a header and the start of its value), and other models that it serves.
UPSTREAMS = (
    ("pool", "Qwen/Qwen3-8B", None, (8001, 8002), ("authorization", "Bearer key-of-qwen"), ()),
    ("pool as is", "Qwen/Qwen3-14B", None, (8003,), ("authorization", "Bearer key-of-qwen"), ()),
    ("OpenAI", "gpt-4.1-mini", None, (8011,), ("authorization", "Bearer key-of-openai"), ("text-embedding-3-small",)),
    ("Azure", "gpt-4.1", None, (8015,), ("api-key", "key-of-azure"), ("text-embedding-3-large",)),
    ("Anthropic", "claude-sonnet-5-5", None, (8012,), ("x-api-key", "key-of-anthropic"), ()),
    ("AWSAnthropic", "claude-sonnet-4-6", "eu.anthropic.claude-sonnet-4-6-v1:0", (8016,), AWS, ()),
    ("GCPAnthropic", "claude-opus-4-6", "claude-opus-4-6@20260205", (8018,), GOOGLE, ()),
    ("AWSBedrock", "claude-haiku-4-5", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", (8013,), AWS, ON_BEDROCK),
    ("GCPVertexAI", "gemini-2.5-pro", None, (8017,), GOOGLE, ("text-embedding-005", "semantic-ranker-512")),
    ("Gemini", "gemini-2.5-flash", None, (8014,), ("x-goog-api-key", "key-of-gemini"), ("gemini-embedding-001",)),
    ("Cohere", "rerank-v3.5", None, (8019,), ("authorization", "Bearer key-of-cohere"), ()),
)
# What the simulators know of credentials: a request with a wrong one is refused as the provider would.
CREDENTIALS = {
    "openai": {"api_keys": ["key-of-qwen", "key-of-openai"]},
    "anthropic": {"api_keys": ["key-of-anthropic"]},
    "cohere": {"api_keys": ["key-of-cohere"]},
    "azure": {"api_keys": ["key-of-azure"]},
    "aws": {"access_keys": [{"access_key_id": "AKIAOFTHEGATEWAY", "secret_access_key": "of-the-gateway"}]},
    "google": {"api_keys": ["key-of-gemini"], "metadata_account": "gateway@my-project.iam.gserviceaccount.com"},
}
# Where Google's token comes from.
TOKENS = "/computeMetadata/v1/instance/service-accounts/default/token"
SUITES = {"python": "the SDKs for Python", "node": "the SDKs for Node.js", "claude": "Claude Code"}
OF_CLIENTS = ("of-the-client", "OFTHECLIENT")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the folder with penstock and penstock-sim")
    parser.add_argument("--python", required=True, help="the interpreter that has the Python SDKs")
    parser.add_argument("--node", required=True, help="the folder with node_modules")
    parser.add_argument("--suite", action="append", choices=["python", "node", "claude"], help="only this one")
    parser.add_argument("clients", nargs="*", help="only these of its SDKs, such as openai")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="penstock-clients.") as work:
        stack = Stack(arguments.bin, work)
        try:
            stack.start()
            results = []
            for suite in arguments.suite or ["python", "node", "claude"]:
                results += run_suite(suite, arguments, stack)
            results += stack.credentials()
            results.append(stack.is_well())
        finally:
            stack.stop()
    show(results, time.monotonic() - begun)
    sys.exit(any(result["error"] for result in results))


class Stack:
    """The simulators and the gateway."""

    def __init__(self, bin, work):
        self.bin, self.work, self.processes = bin, work, []
        ports = [port for upstream in UPSTREAMS for port in upstream[3]]
        free = free_ports(len(ports) + 2)
        self.port_of = dict(zip(ports, free))
        self.gateway, self.admin = (f"127.0.0.1:{port}" for port in free[-2:])

    def start(self):
        say(f"starting {len(self.port_of)} simulated model servers, and the gateway on http://{self.gateway}")
        known = self.write("credentials.json", json.dumps(CREDENTIALS))
        # An engine that serves every API has keys for one only.
        known_by_engine = self.write("credentials-of-engines.json", json.dumps({"openai": CREDENTIALS["openai"]}))
        for name, model, served, ports, _, more in UPSTREAMS:
            for port in ports:
                # Streams are slow enough to be left in the middle.
                self.spawn("penstock-sim", "--model", served or model, "--host", "127.0.0.1", "--port", self.port_of[port],
                           "--mode", "echo", "--inter-token-latency", "2ms",
                           # Some clients ask for as many tokens as the model that they know can write.
                           "--max-model-len", 250_000, "--kv-cache-size", 20_000, "--record", 100_000, "--record-bodies",
                           "--credentials", known_by_engine if name.startswith("pool") else known,
                           *(["--served-model-name", served or model, *more] if more else []))
        for url in [f"{url}/health" for upstream in self.upstreams() for url in upstream["simulators"]]:
            self.await_ok(url)
        self.write_keys()
        self.spawn("penstock", "serve", "--config", self.write_document())
        self.await_ok(f"http://{self.admin}/readyz")

    def spawn(self, program, *arguments):
        log = os.path.join(self.work, f"{program}-{len(self.processes)}.log")
        with open(log, "w") as out:
            command = [os.path.join(self.bin, program), *map(str, arguments)]
            self.processes.append((subprocess.Popen(command, stdout=out, stderr=out), log))

    def write_keys(self):
        for name in ("qwen", "openai", "anthropic", "gemini", "azure", "cohere"):
            self.write(name, f"key-of-{name}\n")
        self.write("aws-credentials", "[default]\naws_access_key_id = AKIAOFTHEGATEWAY\naws_secret_access_key = of-the-gateway\n")
        url = f"http://127.0.0.1:{self.port_of[8017]}{TOKENS}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"metadata-flavor": "Google"}), timeout=5) as answer:
            self.write("google-token", json.load(answer)["access_token"])

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def write_document(self):
        with open(EXAMPLE, encoding="utf-8") as file:
            text = file.read()
        text = text.replace("127.0.0.1:8080", self.gateway).replace("/etc/penstock/keys", self.work)
        for written, free in self.port_of.items():
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{free}").replace(f"port: {written}", f"port: {free}")
        return self.write("penstock.yaml", f"{text}admin:\n  address: {self.admin}\n")

    def await_ok(self, url):
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except OSError:
                for process, log in self.processes:
                    if process.poll() is not None:
                        with open(log) as file:
                            raise SystemExit(f"clients: {os.path.basename(log)} ended early:\n{file.read()[-2000:]}")
                if time.monotonic() > end:
                    raise SystemExit(f"clients: {url} does not answer after {READY_SECONDS} s")
                time.sleep(0.05)

    def upstreams(self):
        """As the suites are told of them."""
        return [{"name": name, "model": model, "served": served or model, "is_spread": len(ports) > 1,
                 "simulators": [f"http://127.0.0.1:{self.port_of[port]}" for port in ports], "more": more}
                for name, model, served, ports, _, more in UPSTREAMS]

    def credentials(self):
        """Every upstream was shown the gateway's credential, and none the client's."""
        for upstream, (name, _, _, _, (header, value), _) in zip(self.upstreams(), UPSTREAMS):
            error = None
            for url in upstream["simulators"]:
                for seen in get(f"{url}/sim/requests"):
                    if seen["path"] == TOKENS:
                        continue
                    headers = [(key.lower(), text) for key, text in seen["headers"]]
                    if [text for key, text in headers if key == header and text.startswith(value)] == []:
                        error = f"{seen['path']} came without the gateway's {header}"
                    if any(of_client in text for _, text in headers for of_client in OF_CLIENTS):
                        error = f"{seen['path']} came with a credential of the client"
            yield {"client": "credentials", "upstream": name, "case": "the gateway's, never the client's", "error": error}

    def is_well(self):
        """The gateway still serves and holds no request back."""
        error = None
        try:
            get(f"http://{self.admin}/debug/pools")
            with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=5) as page:
                lines = page.read().decode().splitlines()
            in_flight = [line for line in lines if line.startswith("penstock_requests_in_flight")]
            if not in_flight or any(float(line.rsplit(" ", 1)[1]) for line in in_flight):
                error = f"requests are still in flight: {in_flight}"
        except OSError as raised:
            error = str(raised)
        return {"client": "the gateway after all that", "upstream": "pool", "case": "nothing in flight", "error": error}

    def stop(self):
        for process, _ in self.processes:
            process.kill()
        for process, _ in self.processes:
            process.wait()


def run_suite(suite, arguments, stack):
    if suite == "node":
        # Node looks for packages beside the file that asks for them.
        copy = shutil.copytree(os.path.join(HERE, "node"), os.path.join(arguments.node, "suite"), dirs_exist_ok=True)
        shutil.copy(os.path.join(HERE, "requests.json"), copy)
        command = ["node", os.path.join(copy, "main.mjs")]
    elif suite == "python":
        command = [arguments.python, os.path.join(HERE, "python", "main.py")]
    else:
        claude = os.path.join(arguments.node, "node_modules", ".bin", "claude")
        command = [sys.executable, os.path.join(HERE, "claude_code.py"), claude]
    say(f"running {SUITES[suite]}")
    command += [f"http://{stack.gateway}", json.dumps(stack.upstreams()), *arguments.clients]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    results = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            results.append(json.loads(line))
    if process.returncode:
        results.append({"client": suite, "upstream": "pool", "case": "the suite", "error": f"exit code {process.returncode}"})
    return results


def show(results, seconds):
    columns = [upstream[0] for upstream in UPSTREAMS]
    table = {}
    for result in results:
        table.setdefault(result["client"], {}).setdefault(result["upstream"], []).append(result["error"] is None)
    width = max(len(client) for client in table)
    print(f"\n{'cases that passed':{width}}" + "".join(f"{column:>13}" for column in columns))
    for client, row in table.items():
        cells = (f"{sum(row[column])}/{len(row[column])}" if column in row else "" for column in columns)
        print(f"{client:{width}}" + "".join(f"{cell:>13}" for cell in cells))
    failures = [result for result in results if result["error"]]
    if failures:
        print("\nWhat failed:")
        for failure in failures:
            print(f"  {failure['client']} to {failure['upstream']}, {failure['case']}: {failure['error'][:600]}")
    print(f"\n{len(results) - len(failures)} of {len(results)} cases passed, in {seconds:.0f} s")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as page:
        return json.load(page)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def say(text):
    print(f"clients: {text}", flush=True)


main()
