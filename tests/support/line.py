"""A slow, thin, breaking line to a port of this machine: `with Line(port, rtt=0.05, mbit=10) as line: connect
to line.port`.

Runs as a process of its own so that neither side's work delays it. Each chunk is held for half the round
trip, queued behind what a bandwidth cap lets through, and delivered in order; the TCP handshake takes its
round trips too. Loss and slow start are not modelled.
"""

import asyncio
import collections
import json
import os
import socket
import struct
import subprocess
import sys
import time


class Line:
    """The near end of the control pipe; times in s, rates in Mbit/s (0: no cap)."""

    def __init__(self, port, rtt=0.0, mbit=0.0):
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), str(port), str(rtt), str(mbit)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self._process.stdout.readline())["port"]

    def _say(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stats(self):
        """Return {"up", "down": bytes, "connections", "cuts", "turns": times the direction changed from down
        to up}."""
        return self._say("stats")

    def cut(self):
        """Break every connection (RST)."""
        return self._say("cut")

    def cut_after(self, count):
        """Break the next connection after `count` more bytes came down, once."""
        return self._say("cut_after", count)

    def stall(self):
        """Become a black hole: nothing is delivered, nothing is closed."""
        return self._say("stall")

    def resume(self):
        """Deliver again, what was held first."""
        return self._say("resume")

    def set(self, rtt, mbit=0.0):
        """Change the line."""
        return self._say("set", rtt, mbit)

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class _Held(collections.deque):
    """(when to deliver, data), with the bytes in it."""

    bytes = 0


class _Proxy:
    def __init__(self, port, rtt, mbit):
        self.port, self.delay, self.rate = port, rtt / 2, mbit * 125_000
        self.free_at = [0.0, 0.0]               # when the capped line is free again, up and down
        self.counts = {"up": 0, "down": 0, "connections": 0, "cuts": 0, "turns": 0}
        self.until_cut = None
        self.stalled = asyncio.Event()
        self.stalled.set()                      # set: flowing
        self.pairs = set()

    async def accept(self, reader, writer):
        self.counts["connections"] += 1
        began = time.monotonic()
        await asyncio.sleep(3 * self.delay)     # SYN, SYN+ACK, ACK
        try:
            far = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far[1])
        self.pairs.add(pair)
        down = asyncio.ensure_future(self.carry(far[0], writer, 1, pair, began))
        await self.carry(reader, far[1], 0, pair, began)
        await down
        self.pairs.discard(pair)

    async def carry(self, reader, writer, way, pair, began):
        queue = _Held()
        ready = asyncio.Event()
        pump = asyncio.ensure_future(self.deliver(queue, ready, writer, way, pair))
        while True:
            try:
                data = await reader.read(1 << 18)
            except OSError:
                data = b""
            now = time.monotonic()
            if self.rate:
                self.free_at[way] = max(now, self.free_at[way]) + len(data) / self.rate
            queue.append((max(now, self.free_at[way] if self.rate else now) + self.delay, data))
            queue.bytes += len(data)
            ready.set()
            if not data:
                break
            while queue.bytes > 64 << 20:
                await asyncio.sleep(0.01)
        await pump

    async def deliver(self, queue, ready, writer, way, pair):
        while True:
            while not queue:
                ready.clear()
                await ready.wait()
            at, data = queue[0]
            wait = at - time.monotonic()
            if wait > 0.0003:
                await asyncio.sleep(wait)
            await self.stalled.wait()
            queue.popleft()
            queue.bytes -= len(data)
            try:
                if writer.transport.is_closing():
                    return          # cut meanwhile: asyncio would complain of each write
                if not data:
                    writer.write_eof()
                    return
                self.count(way, data)
                if way == 1 and self.until_cut is not None:
                    self.until_cut -= len(data)
                    if self.until_cut <= 0:
                        writer.write(data[:self.until_cut or None])
                        self.until_cut = None
                        self.break_pair(pair)
                        return
                writer.write(data)
                if writer.transport.get_write_buffer_size() > 1 << 20:
                    await writer.drain()
            except (OSError, RuntimeError):
                return

    def count(self, way, data):
        self.counts["up" if way == 0 else "down"] += len(data)
        if way == 0 and getattr(self, "last", 0) == 1:
            self.counts["turns"] += 1
        self.last = way

    def break_pair(self, pair):
        self.counts["cuts"] += 1
        self.pairs.discard(pair)
        for writer in pair:
            sock = writer.get_extra_info("socket")
            if sock is not None:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass        # closed already
            writer.transport.abort()

    def obey(self, words):
        if words[0] == "cut":
            for pair in list(self.pairs):
                self.break_pair(pair)
        elif words[0] == "cut_after":
            self.until_cut = int(words[1])
        elif words[0] == "stall":
            self.stalled.clear()
        elif words[0] == "resume":
            self.stalled.set()
        elif words[0] == "set":
            self.delay, self.rate = float(words[1]) / 2, float(words[2]) * 125_000
        return self.counts


async def _serve(port, rtt, mbit):
    proxy = _Proxy(port, rtt, mbit)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=1 << 20)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        print(json.dumps(proxy.obey(line.decode().split())), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
