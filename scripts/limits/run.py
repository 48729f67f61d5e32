#!/usr/bin/env python3
"""Proves limits with whole gateways: three of them, a real Redis, model servers, and clients that take all they can get.

For each fault the stand is built anew: limits of each kind, asked by two consumers each over all gateways in turn, with
streams, clients that leave, upstreams that fail and break off. After the load it is compared what clients were given, what
servers say that they served, what gateways' metrics say was charged and what the store has booked; no limit may be exceeded
by more than docs/limits.md says; and what nobody uses has to be there again within the documented time.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from math import ceil

import check
import load
from faults import FAULTS
from kinds import CONSUMERS, KINDS
from stand import Stand

# The longest window that the probe waits for, in seconds.
LONGEST = max(kind.seconds for kind in KINDS if kind.window in ("bucket", "sliding", "fixed"))
# The gateway that is asked for all that is left: none of the faults is its own.
WITNESS = 1
# After how long who has places in a counter that nobody asked for is heard of, in seconds: see docs/design/leases.md.
HEARD_OF = 4.5


def say(text):
    print(f"limits: {text}", flush=True)


async def scenario(fault, options, work):
    """Runs one fault. Returns its row and what is wrong."""
    stand = Stand(options.bin, work, fault.on_failure, fault.clock)
    try:
        return await judge(fault, options, stand)
    finally:
        stand.stop()


async def judge(fault, options, stand):
    clock, ledgers, is_over = check.Clock(), load.ledgers(), asyncio.Event()
    ports = [gateway.http for gateway in stand.gateways]
    clients = [asyncio.create_task(load.work(kind, who, ports, ledger, number, is_over))
               for (kind, who), ledger in ledgers.items() for number in range(kind.workers)]
    watched = threading.Event()
    watcher = asyncio.create_task(asyncio.to_thread(stand.servers.watch, watched))
    trouble = asyncio.create_task(fault.run(stand, options.seconds, clock))
    await asyncio.sleep(options.seconds)
    await trouble
    is_over.set()
    await asyncio.gather(*clients)
    watched.set()
    running = await watcher
    seconds = time.monotonic()
    while not await asyncio.to_thread(stand.servers.are_idle):
        await asyncio.sleep(0.1)
    await asyncio.sleep(LONGEST + fault.settles)
    left, wrong = await leftovers(stand, ledgers, clock)
    seconds = time.monotonic() - seconds
    await asyncio.sleep(0.5)
    return await asyncio.to_thread(compare, fault, stand, ledgers, clock, running, left, wrong, seconds)


async def leftovers(stand, ledgers, clock):
    """What one gateway is admitted alone, once nobody asks any more: it has to be all."""
    async def one(kind, who):
        if kind.window == "fixed":
            now = clock.time(time.time())
            await asyncio.sleep(kind.seconds - now % kind.seconds + 0.1)
        had, refusal = await load.probe(kind, who, stand.gateways[WITNESS].http, ledgers[kind, who], WITNESS)
        if kind.window == "now" and had < least(kind):
            # Nobody asked for so long that the clock may have jumped: who had places keeps them until those who live are heard of.
            await asyncio.sleep(HEARD_OF)
            had, refusal = await load.probe(kind, who, stand.gateways[WITNESS].http, ledgers[kind, who], WITNESS)
        return had, refusal

    probed = [key for key in ledgers if key[0].window not in ("hour", "year")]
    found = await asyncio.gather(*(one(*key) for key in probed))
    wrong = []
    for (kind, who), (had, refusal) in zip(probed, found):
        if had < least(kind):
            wrong.append(f"{kind.name} of {who}: {had} of {kind.amount} came back, then {refusal}")
    share = min(had / least(kind) for (kind, _), (had, _) in zip(probed, found))
    return share, wrong


def least(kind):
    """What has to come back at least: a request that might take more than is left is refused."""
    return kind.amount - (0 if kind.is_known_before() else kind.most_units())


def compare(fault, stand, ledgers, clock, running, left, wrong, settled):
    alive = [gateway.number for gateway in stand.gateways if gateway.number not in fault.dies]
    metrics = {gateway.number: gateway.charged() for gateway in stand.gateways}
    # A machine that is slow cuts off others too.
    away = sum(gateway.was_cut_off() for gateway in stand.gateways)
    share = 1 + (away / len(stand.gateways) if fault.on_failure == "LocalShare" else 0)
    for gateway in stand.gateways:
        gateway.stop()
    held = {name: units for gateway in stand.gateways for name, units in gateway.held()}
    if not held:
        wrong.append("no access log says what requests held")
    details, most_beyond = [], []
    for kind in KINDS:
        mine = {who: ledgers[kind, who] for who in CONSUMERS}
        if kind.window == "now":
            beyond = max(running[kind, who] for who in CONSUMERS) - ceil(kind.amount * share)
        else:
            beyond = max(check.beyond(kind, check.uses(kind, ledger, clock, held), share) for ledger in mine.values())
        bound = kind.bound(fault.clock)
        if beyond > bound:
            wrong.append(f"{kind.name}: {beyond} beyond {kind.amount * share:g}, and {bound} are documented")
        most_beyond.append((kind, beyond))
        served = [stand.servers.served(kind, who) for who in CONSUMERS]
        told, used, disagreement = check.charged(kind, ledgers, alive, metrics, served)
        wrong += disagreement
        details.append(dict(kind=kind.name, requests=sum(one.requests() for one in mine.values()),
                            served=sum(len(one.served) for one in mine.values()), limit=kind.amount, beyond=beyond,
                            bound=bound, charged=told, used=used, tokens=served))
    stranded, disagreement = booked(fault, stand, ledgers)
    wrong += disagreement
    sums = {name: sum(getattr(ledger, name) for ledger in ledgers.values()) for name in ("denied", "unavailable", "lost")}
    for (kind, who), ledger in ledgers.items():
        if ledger.unexpected:
            statuses = sorted({(one.status, one.code) for one in ledger.unexpected})
            wrong.append(f"{kind.name} of {who}: {len(ledger.unexpected)} unexpected answers: {statuses}")
        if ledger.lost and not fault.dies:
            wrong.append(f"{kind.name} of {who}: {ledger.lost} answers were lost, and no gateway was")
    tried = [kind.name for kind in KINDS if any(ledgers[kind, who].denied for who in CONSUMERS)]
    if len(tried) < len(KINDS) - 2:
        wrong.append(f"only {tried} ever refused anything: the load is too small to prove the others")
    row = dict(fault=fault.name, requests=sum(one["requests"] for one in details), served=sum(one["served"] for one in details),
               **sums, beyond=worst(most_beyond, False), beyond_tokens=worst(most_beyond, True),
               charged=sum(one["charged"] for one in details if one["kind"] != "money"),
               used=sum(one["used"] for one in details if one["kind"] != "money"),
               away=away, stranded=stranded, left=left, settled=settled, details=details)
    return row, wrong


def worst(found, estimated):
    """The most beyond a limit, in hundredths of it; of those that know before what a request takes, or of the others."""
    return max(max(0, beyond) * 100 / kind.amount for kind, beyond in found if kind.is_known_before() != estimated)


def booked(fault, stand, ledgers):
    """What the store has booked of the budget of the year, once all is given back, beyond what was used; in hundredths."""
    kind = next(kind for kind in KINDS if kind.window == "year")
    wrong = []
    there = stand.redis.booked(kind.name)
    used = sorted(sum(kind.units(one.prompt, one.output) for one in ledgers[kind, who].served) for who in CONSUMERS)
    lost = [ledgers[kind, who].lost * kind.most_units() for who in CONSUMERS]
    if len(there) != len(used):
        return 0, [f"{kind.name}: the store has {len(there)} counters, and there are {len(used)} consumers"]
    for have, must in zip(there, used):
        # What a gateway that is killed had leased is lost until the window ends; what it has not told is not booked.
        most, least = (kind.amount // 2, max(lost)) if fault.dies else (0, 0)
        if not must - least <= have <= must + most:
            wrong.append(f"{kind.name}: the store has booked {have}, and {must} were used")
    return max(0, sum(there) - sum(used)) * 100 / kind.amount / len(used), wrong


def table(rows):
    """The rows as a table of Markdown."""
    lines = ["| fault | requests | served | refused | 503 | lost | beyond, % of the limit | of tokens and money | charged | used | stranded % | back % |",
             "|---|" + "---:|" * 11]
    for row in rows:
        lines.append(f"| {row['fault']} | {row['requests']} | {row['served']} | {row['denied']} | {row['unavailable']} | {row['lost']} "
                     f"| {row['beyond']:.1f} | {row['beyond_tokens']:.1f} | {row['charged']} | {row['used']} "
                     f"| {row['stranded']:.1f} | {min(row['left'], 1) * 100:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", help="parts of faults' names; without: all, or with --short the important ones")
    parser.add_argument("--bin", required=True, help="folder of penstock and penstock-sim")
    parser.add_argument("--seconds", type=float, default=60, help="how long the load of each fault lasts")
    parser.add_argument("--short", action="store_true", help="only the important faults")
    parser.add_argument("--json", default="target/limits.json", help="where the rows go")
    parser.add_argument("--details", action="store_true", help="print each limit's figures")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if (fault.short or not options.short)
              and (not options.faults or any(part in fault.name for part in options.faults))]
    if not chosen:
        parser.error("no fault is called so; there are: " + "; ".join(fault.name for fault in FAULTS))
    rows, faults = [], []
    with tempfile.TemporaryDirectory(prefix="penstock-limits.") as work:
        for number, fault in enumerate(chosen):
            say(f"{fault.name}: {fault.run.__doc__}")
            row, wrong = asyncio.run(scenario(fault, options, os.path.join(work, str(number))))
            rows.append(row)
            faults += [f"{fault.name}: {one}" for one in wrong]
            for one in row["details"] if options.details else []:
                say("  " + ", ".join(f"{name} {value}" for name, value in one.items()))
            for one in wrong:
                say(f"WRONG: {one}")
    print(table(rows))
    os.makedirs(os.path.dirname(os.path.abspath(options.json)), exist_ok=True)
    with open(options.json, "w") as out:
        json.dump(rows, out, indent=1)
    if faults:
        sys.exit("limits: " + "\nlimits: ".join(faults))
    say("totals agree, no limit was exceeded by more than is documented, and all came back")


if __name__ == "__main__":
    main()
