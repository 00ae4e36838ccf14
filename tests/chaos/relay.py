"""relay.py - every link between brokers goes through here, and meets trouble on its way.

usage: relay.py COUNT; then lines of JSON on standard input, each for the bytes that flow from
broker `from` to broker `to`, whoever of them dialled:
    delay (s), rate (bytes/s), stall (true/false): until they are set otherwise
    half_close, reset (bytes): once, after so many bytes more
Each time that something was done to bytes or to a connection, its name is written as a line.
"""

import asyncio
import json
import socket
import struct
import sys

PORT = 3000
CHUNK = 65536
QUEUE = 16  # chunks of a direction in our hands: then its sender has to wait


class Direction:
    """What happens to bytes from one broker to another, on all their connections."""

    def __init__(self):
        self.delay = self.rate = 0
        self.stall = False
        self.half_close = self.reset = None
        self.changed = asyncio.Event()

    def set(self, what):
        for name, value in what.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()

    def until_trigger(self, count):
        """How many of the next `count` bytes may pass, and what comes then."""
        for name in ("half_close", "reset"):
            left = getattr(self, name)
            if left is None:
                continue
            if left < count:
                setattr(self, name, None)
                return left, name
            setattr(self, name, left - count)
        return count, None


def told(what):
    print(what, flush=True)


async def take(reader, direction, queue):
    while True:
        try:
            data = await reader.read(CHUNK)
        except OSError:
            data = b""
        now = asyncio.get_running_loop().time()
        if direction.delay and data:
            told("delay")
        await queue.put((now + direction.delay, data))
        if not data:
            return


def reset(*writers):
    for w in writers:
        s = w.get_extra_info("socket")
        if s is not None and s.fileno() >= 0:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        w.transport.abort()


async def give(queue, direction, writer, both):
    while True:
        due, data = await queue.get()
        await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
        if direction.stall:
            told("stall")
        while direction.stall:
            await direction.changed.wait()
        if not data:
            break
        pass_on, then = direction.until_trigger(len(data))
        if direction.rate:
            told("throttle")
            await asyncio.sleep(len(data) / direction.rate)
        writer.write(data[:pass_on])
        if then == "reset":
            told("reset")
            reset(*both)
            return
        if then == "half_close":
            told("half_close")
            writer.write_eof()
            while data:  # the sender learns nothing: its bytes vanish
                _, data = await queue.get()
            return
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def one_way(reader, writer, direction, both):
    queue = asyncio.Queue(QUEUE)
    taking = asyncio.create_task(take(reader, direction, queue))
    try:
        await give(queue, direction, writer, both)
    except OSError:
        reset(*both)
    finally:
        taking.cancel()


async def serve(near_reader, near, goal, directions):
    source = int(near.get_extra_info("peername")[0].rsplit(".", 1)[1]) - 10
    try:
        far_reader, far = await asyncio.wait_for(asyncio.open_connection(
            f"10.77.0.{10 + goal}", PORT, local_addr=(f"10.77.1.{source}", 0)), 5)
    except (OSError, asyncio.TimeoutError):
        reset(near)
        return
    both = (near, far)
    for w in both:
        w.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        w.transport.set_write_buffer_limits(high=4 * CHUNK)
    try:
        await asyncio.gather(
            one_way(near_reader, far, directions[source, goal], both),
            one_way(far_reader, near, directions[goal, source], both))
    finally:
        reset(*both)


async def main(count):
    numbers = range(1, count + 1)
    directions = {(a, b): Direction() for a in numbers for b in numbers}
    for goal in numbers:
        await asyncio.start_server(
            lambda r, w, goal=goal: serve(r, w, goal, directions), f"10.77.1.{goal}", PORT,
            reuse_address=True)
    told("listening")
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        what = json.loads(line)
        directions[what.pop("from"), what.pop("to")].set(what)


asyncio.run(main(int(sys.argv[1])))
