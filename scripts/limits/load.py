"""The clients: each asks again as soon as it was answered, of one gateway after another, and books what it was given."""

import asyncio
import itertools
import json
import random
import time
from dataclasses import dataclass, field

from kinds import CONSUMERS, KINDS
from stand import key_of

# After a refusal.
PAUSE_SECONDS = 0.015
# Nothing takes as long, so what does is a fault.
PATIENCE_SECONDS = 30
LEAVES_AFTER = 5
# How long a store that a gateway takes for gone is waited for: its breaker tries again each second and a half.
AWAY_SECONDS = 10

NUMBERS = itertools.count()


@dataclass
class Answer:
    """What came of a request."""

    gateway: int
    sent: float
    began: float = 0.0
    ended: float = 0.0
    status: int = 0
    prompt: int = 0
    # Tokens of the answer by its usage record; without one, those that came.
    output: int = 0
    # Its usage record came.
    is_whole: bool = False
    # The gateway's own refusal, by its code.
    code: str = ""
    # What it is called in the gateway's access log.
    id: str = ""


@dataclass
class Ledger:
    """All answers to the clients of a kind and consumer."""

    served: list = field(default_factory=list)
    denied: int = 0
    unavailable: int = 0
    lost: int = 0
    unexpected: list = field(default_factory=list)

    def book(self, answer):
        if answer.status == 200:
            self.served.append(answer)
        elif answer.status == 429:
            self.denied += 1
        elif answer.status == 503 and answer.code == "limits_unavailable":
            self.unavailable += 1
        else:
            self.unexpected.append(answer)

    def requests(self):
        return len(self.served) + self.denied + self.unavailable + self.lost + len(self.unexpected)


class Client:
    """A connection to each gateway, and one request at a time."""

    def __init__(self, kind, who, ports):
        self.kind, self.who, self.ports, self.wires = kind, who, ports, {}
        self.chance = random.Random(f"{kind.name} {who}")

    async def ask(self, gateway, leaves=False):
        """Sends a request. Raises OSError or IncompleteReadError where the gateway is gone."""
        answer = Answer(gateway, time.time(), id=f"limits-{next(NUMBERS)}")
        try:
            await asyncio.wait_for(self.exchange(answer, gateway, leaves), PATIENCE_SECONDS)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
            self.hang_up(gateway)
            # The head of a stream that broke off says that it was admitted.
            if answer.status != 200 or not self.kind.streams:
                raise
        answer.ended = time.time()
        return answer

    async def exchange(self, answer, gateway, leaves):
        if gateway not in self.wires:
            self.wires[gateway] = await asyncio.open_connection("127.0.0.1", self.ports[gateway])
        reader, writer = self.wires[gateway]
        body = {"model": f"{self.kind.name}.{self.who}", "max_tokens": self.chance.randint(1, self.kind.most_output),
                "messages": [{"role": "user", "content": "limits " * self.chance.randint(1, 8)}]}
        if self.kind.streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True,
                     "max_tokens": self.kind.most_output}
        text = json.dumps(body)
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\ncontent-type: application/json\r\nauthorization: "
                     f"Bearer {key_of(self.who)}\r\nx-request-id: {answer.id}\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        answer.status, answer.began = int(head.split(" ", 2)[1]), time.time()
        if "transfer-encoding: chunked" in head:
            await self.chunks(reader, answer, gateway, leaves)
        else:
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            self.read(answer, await reader.readexactly(length))
        if "connection: close" in head:
            self.hang_up(gateway)

    async def chunks(self, reader, answer, gateway, leaves):
        rest = b""
        while size := int((await reader.readline()).strip() or b"0", 16):
            rest += (await reader.readexactly(size + 2))[:-2]
            if answer.status == 200 and self.kind.streams:
                *events, rest = rest.split(b"\n\n")
                for event in events:
                    self.event(answer, event)
                if leaves and answer.output >= LEAVES_AFTER:
                    self.hang_up(gateway)
                    return
        await reader.readline()
        if rest:
            self.read(answer, rest)

    @staticmethod
    def event(answer, event):
        """Counts tokens: the servers send one an event."""
        if b'"usage":{' in event:
            usage = json.loads(event.removeprefix(b"data: "))["usage"]
            answer.prompt, answer.output, answer.is_whole = usage["prompt_tokens"], usage["completion_tokens"], True
        elif b'"content":"' in event and b'"content":""' not in event:
            answer.output += 1

    @staticmethod
    def read(answer, body):
        value = json.loads(body)
        if usage := value.get("usage"):
            answer.prompt, answer.output, answer.is_whole = usage["prompt_tokens"], usage["completion_tokens"], True
        error = value.get("error")
        answer.code = str(error.get("code")) if error else ""

    def hang_up(self, gateway):
        if wire := self.wires.pop(gateway, None):
            wire[1].transport.abort()

    def close(self):
        for gateway in list(self.wires):
            self.hang_up(gateway)


async def work(kind, who, ports, ledger, first, is_over):
    """One client, until it is over."""
    client, turn = Client(kind, who, ports), first
    while not is_over.is_set():
        turn += 1
        try:
            answer = await client.ask(turn % len(ports), client.chance.randrange(100) < kind.leaves)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
            ledger.lost += 1
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        ledger.book(answer)
        if answer.status != 200:
            await asyncio.sleep(PAUSE_SECONDS)
    client.close()


async def probe(kind, who, port, ledger, gateway):
    """What one gateway alone still admits of a limit that has nothing to do, in what the limit counts, and what it says then."""
    ports = {gateway: port}
    away_until = time.monotonic() + AWAY_SECONDS
    if kind.window == "now":
        clients = [Client(kind, who, ports) for _ in range(kind.amount)]
        answers = await asyncio.gather(*(client.ask(gateway) for client in clients))
        for answer in answers:
            ledger.book(answer)
        refusals = {f"{answer.status} {answer.code}" for answer in answers if answer.status != 200}
        return sum(answer.status == 200 for answer in answers), ", ".join(sorted(refusals))
    client, had, refusal = Client(kind, who, ports), 0, ""
    while had < kind.amount:
        answer = await client.ask(gateway)
        ledger.book(answer)
        if answer.code == "limits_unavailable" and time.monotonic() < away_until:
            await asyncio.sleep(0.1)
            continue
        if answer.status != 200:
            refusal = f"{answer.status} {answer.code}"
            break
        had += kind.units(answer.prompt, answer.output)
    client.close()
    return had, refusal


def ledgers():
    return {(kind, who): Ledger() for kind in KINDS for who in CONSUMERS}
