"""OpenSSH's sftp-server behind a door that grants less and announces nothing: `python stingy_sftp.py
handles=3 read=4096 …`.

Fits `Subsystem sftp` and far.Far. Beyond a limit a request is refused as `refusal` says: a status of that
number, "cut" (hang up) or "drop" (no answer, ever). handles: files and folders open at once; requests:
unanswered at once; read: bytes a READ may ask for; short: bytes a READ is answered with at most; burst: OPENs
and OPENDIRs granted within a second; per: requests answered within a second, the others refused; denies: with
that text; idle: s without a request after which it hangs up; fails: part of the names of files that can't be
opened, whatever else is.
"""

import collections
import os
import select
import struct
import subprocess
import sys
import time

SERVER = "/usr/lib/openssh/sftp-server"
OPEN, CLOSE, READ, OPENDIR, HANDLE, STATUS, VERSION = 3, 4, 5, 11, 102, 101, 2


class Packets:
    """Whole SFTP packets out of a stream of bytes."""

    def __init__(self, descriptor):
        self.descriptor, self.buffer, self.ended = descriptor, b"", False

    def come(self):
        try:
            data = os.read(self.descriptor, 1 << 18)
        except ConnectionResetError:
            data = b""
        self.ended = not data
        self.buffer += data
        while len(self.buffer) >= 4:
            size, = struct.unpack(">I", self.buffer[:4])
            if len(self.buffer) < 4 + size:
                return
            packet, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
            yield packet


class Door:
    def __init__(self, refusal="4", handles=1 << 30, requests=1 << 30, read=1 << 30, short=1 << 30,
                 burst=1 << 30, per=1 << 30, denies="Failure", idle=1 << 30, fails="/nothing/"):
        self.refusal, self.denies = refusal, denies
        self.handles, self.requests, self.read, self.short, self.burst, self.per = map(
            int, (handles, requests, read, short, burst, per))
        self.server = subprocess.Popen([SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.near, self.far = Packets(0), Packets(self.server.stdout.fileno())
        self.queue, self.opens, self.held = collections.deque(), set(), 0
        self.times, self.asked = collections.deque(), collections.deque()
        self.fails = fails.encode()
        self.idle, self.busy_at = float(idle), time.monotonic()

    def run(self):
        while not (self.near.ended or self.far.ended) and time.monotonic() - self.busy_at < self.idle:
            self.receive(0 if self.queue else 0.2)
            if self.queue:
                self.serve(self.queue.popleft())
                self.busy_at = time.monotonic()
        self.server.kill()

    def receive(self, patience):
        """Take what came in from the client: what is beyond the number of requests at once is refused."""
        while select.select([0], [], [], patience)[0] and not self.near.ended:
            for packet in self.near.come():
                if len(self.queue) >= self.requests:
                    self.refuse(packet)
                else:
                    self.queue.append(packet)
            patience = 0

    def serve(self, packet):
        """Hand one request on and its answer back."""
        kind = packet[0]
        if kind == OPEN and self.fails in packet:
            return self.refuse(packet)
        if (kind in (OPEN, OPENDIR)
            and (self.held >= self.handles or not self.in_time(self.times, self.burst))):
            return self.refuse(packet)
        if kind not in (1, CLOSE) and not self.in_time(self.asked, self.per):
            return self.refuse(packet)
        if kind == READ:
            length, = struct.unpack(">I", packet[-4:])
            if length > self.read:
                return self.refuse(packet)
            packet = packet[:-4] + struct.pack(">I", min(length, self.short))
        self.send(self.server.stdin.fileno(), packet)
        answer = None
        while answer is None and not self.far.ended:
            answer = next(iter(list(self.far.come())), None)
        if answer is None:
            return
        if answer[0] == VERSION:
            answer = answer[:5]         # announces nothing
        self.held += (answer[0] == HANDLE) - (kind == CLOSE)
        self.send(1, answer)

    @staticmethod
    def in_time(times, most):
        now = time.monotonic()
        while times and times[0] < now - 1:
            times.popleft()
        if len(times) >= most:
            return False
        times.append(now)
        return True

    def refuse(self, packet):
        if self.refusal == "cut":
            os._exit(1)
        if self.refusal != "drop":
            text = self.denies.replace("_", " ").encode()
            self.send(1, bytes([STATUS]) + packet[1:5] + struct.pack(">II", int(self.refusal), len(text))
                      + text + struct.pack(">I", 0))

    @staticmethod
    def send(descriptor, packet):
        view = memoryview(struct.pack(">I", len(packet)) + packet)
        while view:
            view = view[os.write(descriptor, view):]


if __name__ == "__main__":
    Door(**dict(word.split("=", 1) for word in sys.argv[1:])).run()
