"""The cases that every client goes through, and how they are told: a line of JSON for each on standard output.

The simulators say the last user's text back. So an answer shows that the request arrived whole, and counts of tokens show
that what stands beside the text arrived too.
"""

import json
import os
import time
import traceback
import urllib.request
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "..", "requests.json"), encoding="utf-8") as file:
    REQUESTS = json.load(file)
PROMPT = REQUESTS["prompt"]
# The simulators call a tool where they are told so; what arguments it has shows that they came back whole.
CALL = {"city": "Köln \"am\" Rhein", "days": [1, 2]}
TELL = f"sim:call get_weather {json.dumps(CALL, ensure_ascii=False)}"
for api, member, turn in (("chat", "messages", [{"role": "user", "content": TELL}]), ("responses", "input", TELL),
                          ("messages", "messages", [{"role": "user", "content": TELL}]),
                          ("converse", "messages", [{"role": "user", "content": [{"text": TELL}]}]), ("gemini", "contents", TELL)):
    REQUESTS[api]["call"] = REQUESTS[api]["tools"] | {member: turn}
# Long enough that it can be left in the middle.
LONG_PROMPT = "once upon a time " * 400
# What clients show. The gateway shows upstreams keys of its own.
CLIENT_KEY = "sk-of-the-client"
RELEASE_SECONDS = 10


@dataclass
class Answer:
    """What an SDK made of an answer."""

    text: str
    # Tokens of the request, cached ones among them.
    input: int
    output: int
    cached: int = 0
    # `stop`, `length` or `call`.
    finish: str = "stop"
    pieces: int = 1
    # The members that were left out, as the gateway's header names them; None where the SDK does not show headers.
    dropped: str | None = None
    # The tool that is called, and its arguments.
    call: tuple | None = None


@dataclass
class Client:
    """An SDK, against all upstreams that it can be used with."""

    name: str
    # (model, kind of request, most tokens or None, whether it is streamed) -> Answer
    ask: object
    # (model, prompt) -> an iterator over pieces of the answer; closing it cancels the request
    pieces: object
    # The SDK's own classes for 404 and 429, and for a stream that breaks off.
    not_found: tuple
    rate_limited: tuple
    broken: tuple
    # Kinds of requests beside `plain`.
    kinds: tuple = ()
    # Of which upstream: all, or those named.
    upstreams: tuple = ()
    # The member that is left out where it is translated for these upstreams.
    dropped: dict = field(default_factory=dict)
    model_of: object = lambda upstream: upstream["model"]


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def answered(answer, is_stream):
    # Images and results of tools are said back as well, before the text.
    check(answer.text.endswith(PROMPT), f"the answer is {answer.text!r}")
    check(answer.input and answer.output, f"usage is {answer.input} and {answer.output}")
    check(answer.finish == "stop", f"it finished with {answer.finish}")
    check(not is_stream or answer.pieces > 3, f"{answer.pieces} pieces")


class Simulators:
    """Those of one upstream, and what they are told and asked over their own pages."""

    def __init__(self, urls):
        self.urls = urls

    def call(self, method, path, body=None):
        for url in self.urls:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(url + path, data, {"content-type": "application/json"}, method=method)
            with urllib.request.urlopen(request, timeout=5) as response:
                yield json.load(response)

    def fault(self, action):
        list(self.call("POST", "/sim/faults", [{"action": action}]))

    def heal(self):
        list(self.call("DELETE", "/sim/faults"))

    def in_flight(self):
        return sum(stats["in_flight"] for stats in self.call("GET", "/sim/stats"))


def cases(client, upstream):
    """Pairs of a name and what has to run without an exception."""
    model, simulators = client.model_of(upstream), Simulators(upstream["simulators"])

    def kind(kind, is_stream):
        answer = client.ask(model, kind, None, is_stream)
        if kind == "call":
            check(answer.call == ("get_weather", CALL), f"the call is {answer.call}")
            check(answer.finish == "call", f"it finished with {answer.finish}")
            return
        answered(answer, is_stream)
        if kind in ("system", "history", "tools"):
            plain = client.ask(model, "plain", None, False)
            more = answer.input - plain.input
            check(more >= 10, f"{kind} is {more} tokens more than the prompt alone")
        if kind == "settings" and answer.dropped is not None:
            expected = client.dropped.get(upstream["name"], "")
            check(answer.dropped == expected, f"dropped are {answer.dropped!r}, not {expected!r}")

    def cached():
        first, second = (client.ask(model, "long", 1, False) for _ in range(2))
        check(first.input == second.input, f"{first.input} and {second.input} input tokens for the same request")
        check(upstream["is_spread"] or second.cached > 100, f"{second.cached} of {second.input} tokens are cached")

    def length(is_stream):
        answer = client.ask(model, "plain", 2, is_stream)
        check(answer.finish == "length", f"it finished with {answer.finish}")
        check(answer.output == 2, f"{answer.output} tokens")

    def raises(kinds, run):
        try:
            answer = run()
        except kinds:
            return
        raise AssertionError(f"nothing was raised; the answer is {answer!r:.300}")

    def faulty(action, kinds, is_stream):
        simulators.fault(action)
        try:
            raises(kinds, lambda: client.ask(model, "plain", None, is_stream))
        finally:
            simulators.heal()

    def cancel():
        pieces = client.pieces(model, LONG_PROMPT)
        for _ in range(3):
            next(pieces)
        check(simulators.in_flight() > 0, "the stream had ended before it was left")
        pieces.close()
        end = time.monotonic() + RELEASE_SECONDS
        while simulators.in_flight():
            check(time.monotonic() < end, f"the upstream still writes {RELEASE_SECONDS} s after the client left")
            time.sleep(0.02)
        answered(client.ask(model, "plain", None, True), True)

    for is_stream in (False, True):
        how = "streamed" if is_stream else "whole"
        for name in ("plain", *client.kinds):
            yield f"{name}, {how}", lambda name=name, is_stream=is_stream: kind(name, is_stream)
        yield f"max tokens, {how}", lambda is_stream=is_stream: length(is_stream)
        limited = {"failure": {"kind": "rate_limit"}}
        yield (f"rate limit, {how}",
               lambda is_stream=is_stream: faulty(limited, client.rate_limited, is_stream))
        yield (f"unknown model, {how}",
               lambda is_stream=is_stream: raises(client.not_found,
                                                  lambda: client.ask("no-such-model", "plain", None, is_stream)))
    yield "cached tokens", cached
    yield "stream breaks off", lambda: faulty({"close_after": {"chunks": 5}}, client.broken, True)
    yield "stream is cancelled", cancel


def run(clients, upstreams):
    for client in clients:
        for upstream in upstreams:
            if client.upstreams and upstream["name"] not in client.upstreams:
                continue
            for case, test in cases(client, upstream):
                tell(client.name, upstream["name"], case, test)


def tell(client, upstream, case, test):
    error = None
    try:
        test()
    except Exception as raised:  # noqa: BLE001 - whatever an SDK raises is a result
        at = traceback.extract_tb(raised.__traceback__)[-1]
        error = f"{type(raised).__name__}: {raised} ({os.path.basename(at.filename)}:{at.lineno})"
    print(json.dumps({"client": client, "upstream": upstream, "case": case, "error": error}), flush=True)
