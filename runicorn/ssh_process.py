"""A program's standard input and output as one byte stream, and the last of what it says on standard error: ssh, or a ProxyCommand."""

import os
import signal
import socket
import subprocess
import threading

from runicorn.errors import LineError, MissingPackageError, coded

SAID_BYTES = 64 << 10       # of standard error; what comes before the last of it is dropped
LAST_WORDS = 0.5            # s to wait for them after the process ended; a grandchild may hold its standard error open for ever
END_SECONDS = 5


class Pipe:
    """A process's standard input and output as one byte stream with timeouts: send, recv, settimeout, close.

    apart: give it a session of its own, without a terminal to ask questions on; it ends with all that it started.
    """

    def __init__(self, command, apart=False):
        if os.name == "nt":         # a socket can't be a process's standard input there
            raise coded(MissingPackageError("system ssh and ProxyCommand work on Linux and macOS only: use a key, an agent or a password"),
                        "missing", said="missing_system")
        self.socket, theirs = socket.socketpair()
        self._errors = _Errors()
        self._apart = apart
        self.sent = self.received = 0
        try:
            self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=self._errors.end,
                                            start_new_session=apart)
        except OSError as error:
            self.socket.close()
            name = command[0]
            raise coded(LineError(f"{name} can't be started: {error.strerror}"), "line", said="not_started", command=name,
                        detail=error.strerror) from error
        finally:
            theirs.close()
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
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number) if self._apart else self.process.send_signal(number)
        except ProcessLookupError:
            pass                # it ended just now


class _Errors(threading.Thread):
    """Gathers standard error as it comes: the process is never held up by it, and a talkative one fills neither memory nor disk."""

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
