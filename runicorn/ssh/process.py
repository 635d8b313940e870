"""A program's standard input and output as one byte stream, and the last of what it says on standard error:
ssh, or a ProxyCommand."""

import os
import socket
import threading

from runicorn.errors import LineError
from runicorn.ssh import local

SAID_BYTES = 64 << 10       # of standard error; what comes before the last of it is dropped
# s to wait for them after the process ended; a grandchild may hold its standard error open for ever
LAST_WORDS = 0.5
END_SECONDS = 5


class Pipe:
    """A process's standard input and output as one byte stream with timeouts: send, recv, settimeout, close.

    apart: give it a session of its own, without a terminal to ask questions on; it ends with all that it
    started.
    """

    def __init__(self, command, apart=False):
        self._errors = _Errors()
        self._apart = apart
        self.sent = self.received = 0
        try:
            self.process, self.socket = local.started(command, self._errors.end, apart)
        except OSError as error:
            name = command if isinstance(command, str) else command[0]
            raise LineError(f"{name} can't be started: {error.strerror}", code="line", said="not_started",
                            command=name, detail=error.strerror) from error
        finally:
            self._errors.begin()

    def send(self, data):
        sent = self.socket.send(data)
        self.sent += sent
        return sent

    def recv(self, size):
        try:
            data = self.socket.recv(size)
        except ConnectionResetError:
            return b""          # the process ended with bytes of ours unread: the same as its end
        self.received += len(data)
        return data

    def settimeout(self, seconds):
        self.socket.settimeout(seconds)

    def shutdown_write(self):
        """Tell the process that no more input comes."""
        self.socket.shutdown(socket.SHUT_WR)

    def said(self):
        """Return the last of what the process wrote to standard error (str)."""
        if self.process.poll() is not None:
            self._errors.join(LAST_WORDS)
        return self._errors.text()

    def close(self):
        """End the process and free everything."""
        self.socket.close()
        if self.process.poll() is None:
            local.end(self.process, self._apart, END_SECONDS)


class _Errors(threading.Thread):
    """Gathers standard error as it comes: the process is never held up by it, and a talkative one fills
    neither memory nor disk."""

    def __init__(self):
        super().__init__(name="words of ssh", daemon=True)
        self._source, self.end = os.pipe()      # no socket: a ProxyCommand's `>/dev/stderr` can't open one
        self._last = bytearray()

    def begin(self):
        """Leave the writing end to the process, and gather."""
        os.close(self.end)
        self.start()

    def run(self):
        with open(self._source, "rb", buffering=0) as source:
            for data in iter(lambda: source.read(1 << 16), b""):
                self._last += data
                del self._last[:-SAID_BYTES]

    def text(self):
        return self._last.decode("utf-8", "replace").strip()
