"""What is limited: one limit of each kind, each with models, upstreams and clients of its own, so that sums can be compared."""

from dataclasses import dataclass

CONSUMERS = ("alice", "bob")
# Billionths of a dollar for a token: 10 and 20 dollars for a million.
NANO_INPUT, NANO_OUTPUT = 10_000, 20_000
NANO = 1_000_000_000


@dataclass(frozen=True)
class Kind:
    """A limit, and how its clients ask."""

    name: str
    count: str
    # In what it counts; of money in billionths of a dollar.
    amount: int
    # `bucket`, `sliding`, `fixed`, `hour`, `year` or `now`, and its length in seconds.
    window: str
    seconds: float
    # Of each consumer, so many ask at a time.
    workers: int
    # An answer has one to so many tokens.
    most_output: int
    streams: bool = False
    # Of a hundred streams, so many are left by their clients.
    leaves: int = 0
    # The first server of two fails now and then. One that is alone does not.
    servers: int = 2

    def document(self):
        """The limit in the document's words."""
        window = {
            "bucket": f"window: {{tokenBucket: {self.seconds:g}s}}, ",
            "sliding": f"window: {{sliding: {self.seconds:g}s}}, ",
            "fixed": f"window: {{fixed: {self.seconds:g}s}}, ",
            "hour": "window: {calendar: Hour, timeZone: UTC}, ",
            "year": "window: {calendar: Year, timeZone: UTC}, ",
            "now": "",
        }[self.window]
        amount = f'"{self.amount / NANO:.9f}"' if self.count == "Cost" else self.amount
        return f"{{name: limit, count: {self.count}, amount: {amount}, {window}per: [consumer]}}"

    def units(self, prompt, output):
        """What the limit counts of a request of so many tokens."""
        return {
            "Requests": 1,
            "Concurrency": 1,
            "TotalTokens": prompt + output,
            "OutputTokens": output,
            "Cost": prompt * NANO_INPUT + output * NANO_OUTPUT,
        }[self.count]

    def most_units(self):
        """The most that one request counts; prompts of the load are shorter than 32 tokens."""
        return self.units(32, self.most_output)

    def is_known_before(self):
        """Whether it is known before what a request takes."""
        return self.count in ("Requests", "Concurrency")

    def bound(self, is_clock_set):
        """By how much docs/limits.md lets the amount be exceeded by what requests held: of a bucket and a window that slides by
        what gateways had leased before, each a part of half of what is left. So too of a window with an end that a clock
        which is set ahead brings about."""
        has_leased = self.window in ("bucket", "sliding") or is_clock_set and self.window in ("fixed", "hour")
        return self.amount // 2 if has_leased else 0


KINDS = (
    Kind("bucket-requests", "Requests", 45, "bucket", 3, 4, 4),
    Kind("bucket-tokens", "TotalTokens", 900, "bucket", 3, 4, 12),
    Kind("sliding-requests", "Requests", 60, "sliding", 3, 4, 4),
    Kind("sliding-tokens", "OutputTokens", 900, "sliding", 3, 6, 20, streams=True, leaves=20),
    Kind("window-requests", "Requests", 80, "fixed", 4, 4, 4),
    Kind("hour-tokens", "TotalTokens", 3_000, "hour", 3600, 4, 12),
    Kind("money", "Cost", NANO // 25, "year", 0, 4, 12),
    Kind("concurrency", "Concurrency", 5, "now", 0, 8, 20, streams=True, servers=1),
)
