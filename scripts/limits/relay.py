"""The network between gateways and the store: a relay for each gateway, in a process of its own, that can be cut and be slow."""

import asyncio
import multiprocessing

# How often a relay that is cut looks whether it is still.
LOOK_SECONDS = 0.02
CUT = -1.0


class Relays:
    """So many relays to one port. What is in a relay that is cut arrives once it is not, as TCP has it."""

    def __init__(self, count, target):
        self.delays = multiprocessing.Array("d", [0.0] * count)
        ports = multiprocessing.Queue()
        self.process = multiprocessing.Process(target=run, args=(count, target, self.delays, ports), daemon=True)
        self.process.start()
        self.ports = ports.get(timeout=20)

    def cut(self, which):
        self.delays[which] = CUT

    def delay(self, which, seconds):
        """How long each piece is on its way; 0 for a network as it should be."""
        self.delays[which] = seconds

    def stop(self):
        self.process.kill()
        self.process.join()


def run(count, target, delays, ports):
    asyncio.run(serve(count, target, delays, ports))


async def serve(count, target, delays, ports):
    servers = []
    for which in range(count):
        def accept(reader, writer, which=which):
            return relay(reader, writer, target, which, delays)

        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0))
    ports.put([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def relay(reader, writer, target, which, delays):
    await passable(which, delays)
    try:
        there, back = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, back, which, delays), copy(there, writer, which, delays))


async def passable(which, delays):
    while delays[which] < 0:
        await asyncio.sleep(LOOK_SECONDS)


async def copy(reader, writer, which, delays):
    """Pieces in their order; those that are on their way do not wait for each other."""
    queue = asyncio.Queue()
    sender = asyncio.create_task(send(queue, writer, which, delays))
    try:
        while piece := await reader.read(65536):
            queue.put_nowait((asyncio.get_running_loop().time() + max(delays[which], 0), piece))
    except OSError:
        pass
    queue.put_nowait((0, b""))
    await sender


async def send(queue, writer, which, delays):
    try:
        while True:
            due, piece = await queue.get()
            await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
            await passable(which, delays)
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    writer.close()
