"""What must hold of what was served, charged and left. What clients saw proves only what was admitted for certain in a time:
a request counts in a stretch of time if it began and ended in it."""

from dataclasses import dataclass
from math import ceil, floor

# Windows are looked at from so many of the requests in turn, so that long runs take no longer to judge.
STARTS = 200


class Clock:
    """The store's time: the machine's, as far as it was set ahead, and never going back."""

    def __init__(self):
        self.steps = [(0.0, 0.0)]

    def step(self, at, ahead):
        self.steps.append((at, ahead))

    def time(self, at):
        latest = 0.0
        for index, (begins, ahead) in enumerate(self.steps):
            if begins > at:
                break
            ends = self.steps[index + 1][0] if index + 1 < len(self.steps) else at
            latest = max(latest, min(ends, at) + ahead)
        return latest


@dataclass
class Use:
    """A request by the store's time, and what the limit counts of it."""

    begins: float
    ends: float
    units: int


def uses(kind, ledger, clock, held):
    """What a request took beyond its hold is not counted: by docs/limits.md a limit is exceeded by that."""
    def units(one):
        taken = kind.units(one.prompt, one.output)
        return min(taken, held.get(one.id, taken))

    return [Use(clock.time(one.sent), clock.time(one.ended), units(one)) for one in ledger.served]


def beyond(kind, all_uses, share=1.0):
    """By how much the limit, times `share`, was exceeded in the worst stretch of time; negative where it never was."""
    amount = kind.amount * share
    if not all_uses:
        return -amount
    if kind.window in ("fixed", "hour", "year"):
        sums = {}
        for use in all_uses:
            first, last = (0, 0) if kind.window == "year" else (floor(use.begins / kind.seconds), floor(use.ends / kind.seconds))
            if first == last:
                sums[first] = sums.get(first, 0) + use.units
        return ceil(max(sums.values(), default=0) - amount)
    return ceil(stretches(kind, all_uses, amount))


def stretches(kind, all_uses, amount):
    """The same of a bucket or a window that slides, whose stretches begin anywhere."""
    by_end = sorted(all_uses, key=lambda use: use.ends)
    starts = sorted(use.begins for use in all_uses)
    worst = -amount
    for start in starts[:: ceil(len(starts) / STARTS)]:
        units = 0
        for use in by_end:
            if use.begins < start:
                continue
            if kind.window == "sliding" and use.ends > start + kind.seconds:
                break
            units += use.units
            filled = amount * (use.ends - start) / kind.seconds if kind.window == "bucket" else 0
            worst = max(worst, units - amount - filled)
    return worst


def charged(kind, ledgers, gateways, metrics, servers):
    """What the gateways' metrics, the clients' records and the servers' own counting say, and what of it does not agree.

    `gateways` are those that lived from the beginning to the end; of another one the metrics are gone."""
    wrong, lost = [], sum(ledger.lost for (of, _), ledger in ledgers.items() if of == kind)
    answers = [one for (of, _), ledger in ledgers.items() if of == kind for one in ledger.served]
    for gateway in gateways:
        own = [one for one in answers if one.gateway == gateway]
        known = sum(kind.units(one.prompt, one.output) for one in own)
        told = metrics[gateway][kind.name]
        is_exact = not kind.leaves and not lost
        if told < known or is_exact and told != known:
            wrong.append(f"{kind.name}: gateway {gateway} charged {told}, and its clients were given {known}")
    prompts, outputs = (sum(pair) for pair in zip(*servers))
    given = sum(one.prompt for one in answers), sum(one.output for one in answers)
    if not kind.leaves and not lost and (prompts, outputs) != given:
        wrong.append(f"{kind.name}: servers say that they served {prompts} and {outputs} tokens, clients had {given}")
    if outputs < given[1]:
        wrong.append(f"{kind.name}: servers say that they served {outputs} tokens, clients had {given[1]}")
    # The first event of a stream names the role alone, and is reckoned as a token where nothing else is known.
    broken = sum(not one.is_whole for one in answers)
    told = sum(metrics[gateway][kind.name] for gateway in gateways)
    used = sum(kind.units(one.prompt, one.output) for one in answers if one.gateway in gateways)
    if kind.leaves and told > outputs + broken:
        wrong.append(f"{kind.name}: gateways charged {told}, and servers served {outputs} in streams of which {broken} broke off")
    if not kind.leaves and broken and not lost:
        wrong.append(f"{kind.name}: {broken} streams broke off")
    return told, used, wrong
