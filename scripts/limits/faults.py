"""What goes wrong while the load runs. Each is given the stand, how long the load lasts, and the store's clock."""

import asyncio
import time
from dataclasses import dataclass
from typing import Callable

HOUR = 3600
# Slower than the deadline of the stand's document, and not as slow.
SLOW_SECONDS = (0.05, 0.4)


async def nothing(stand, seconds, clock):
    """Nothing goes wrong."""


async def killed_gateway(stand, seconds, clock):
    """A gateway is killed (SIGKILL), and comes back."""
    await asyncio.sleep(seconds / 3)
    stand.gateways[0].kill()
    await asyncio.sleep(seconds / 3)
    await asyncio.to_thread(stand.gateways[0].start)


async def store_restarts(stand, seconds, clock):
    """The store is killed, and comes back with its data."""
    await asyncio.sleep(seconds / 3)
    stand.redis.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(stand.redis.start)


async def store_is_empty(stand, seconds, clock):
    """The store is killed, and comes back without its data."""
    await asyncio.sleep(seconds / 3)
    stand.redis.kill(keeps=False)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(stand.redis.start)


async def partition(stand, seconds, clock):
    """One gateway is cut off from the store, for a third of the time."""
    await asyncio.sleep(seconds / 3)
    stand.relays.cut(0)
    await asyncio.sleep(seconds / 3)
    stand.relays.delay(0, 0)


async def slow(stand, seconds, clock):
    """The network to the store takes 50 and 400 ms each way by turns: answers come, or come after the deadline of 500 ms."""
    turns = 6
    for turn in range(turns):
        await asyncio.sleep(seconds / (turns + 2))
        for number in range(len(stand.gateways)):
            stand.relays.delay(number, SLOW_SECONDS[turn % 2])
    for number in range(len(stand.gateways)):
        stand.relays.delay(number, 0)


async def clock_steps(stand, seconds, clock):
    """The store's clock is set back by two seconds, and then ahead by an hour: windows and calendar roll over."""
    for ahead in (-2, HOUR):
        await asyncio.sleep(seconds / 3)
        stand.redis.set_clock(ahead)
        clock.step(time.time(), ahead)


@dataclass(frozen=True)
class Fault:
    """A fault, and what it may cost by docs/limits.md."""

    name: str
    run: Callable
    on_failure: str = "Closed"
    # Needs a store whose clock can be set.
    clock: bool = False
    # Gateways that do not live throughout.
    dies: tuple = ()
    # Until what nobody uses has come back, beside the longest window.
    settles: float = 3.0
    # Is in the short run.
    short: bool = False


FAULTS = (
    Fault("none", nothing, short=True),
    Fault("a gateway is killed and comes back", killed_gateway, dies=(0,), settles=11, short=True),
    Fault("Redis is killed and comes back with its data", store_restarts),
    Fault("Redis is killed and comes back empty", store_is_empty, short=True),
    Fault("a gateway is cut off, Closed", partition, short=True),
    Fault("a gateway is cut off, LocalShare", partition, on_failure="LocalShare"),
    Fault("Redis is slow", slow),
    Fault("Redis' clock steps", clock_steps, clock=True, short=True),
)
