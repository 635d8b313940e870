"""SFTP packets over one byte stream: whole ones come and go, none waits for ever, and text where a packet
should be is told as that."""

import socket
import struct
import time

from runicorn.errors import LineError, ProtocolError, RemoteError
from runicorn.ssh.sftp_answers import MAX_PACKET

PROGRESS = 64 << 10             # bytes of a large packet that count as an answer
PIECE = 1 << 20                 # bytes handed to the stream at once
RECEIVED = 255 << 10           # bytes asked of the stream at once
NOISE = 120                     # bytes of what is no SFTP that are shown
POLL = 0.001                    # s; streams take 0 for something else
# s waited in one go: more than that is no silence of the server but a stop of ours
SLICE = 5.0


class Packets:
    """The two ways of `stream`, which has send(bytes) -> int, recv(n) -> bytes, settimeout(s) and close().
    One thread owns it; any may `close`. `sent` and `received` are bytes, `answered_at` is when the last came
    (monotonic s). Raises LineError when the stream ends or stalls and ProtocolError when the server breaks
    the protocol."""

    def __init__(self, stream, timeout):
        """timeout: s to wait for a whole packet, or PROGRESS bytes of one."""
        self._stream, self._timeout = stream, timeout
        self._buffer, self._start = bytearray(), 0
        self.sent = self.received = 0
        self.answered_at = 0.0
        self._begun = False

    def begin(self, timeout):
        """The server spoke SFTP: from now on `timeout` s are waited for a packet."""
        self._begun, self._timeout = True, timeout

    def send(self, data):
        """Send bytes; waits until the stream has taken them."""
        view = memoryview(data)
        try:
            self._stream.settimeout(self._timeout)
            while view:
                count = self._stream.send(view[:PIECE])
                if not count:
                    raise LineError("the line to the server was closed")
                self.sent += count
                view = view[count:]
        except (socket.timeout, TimeoutError) as error:
            raise LineError(f"the server took nothing for {self._timeout:g} s") from error
        except (OSError, EOFError) as error:
            raise LineError(f"the line to the server broke: {error}") from error

    def take(self):
        """Return the next packet (bytes) without its length if all of it is here, else None."""
        have = len(self._buffer) - self._start
        if have < 4:
            return None
        size, = struct.unpack_from(">I", self._buffer, self._start)
        if not 0 < size <= MAX_PACKET:
            raise self._no_packet(size)
        if have - 4 < size:
            return None
        start = self._start + 4
        packet = bytes(memoryview(self._buffer)[start:start + size])
        self._start = start + size
        if self._start == len(self._buffer) or self._start > MAX_PACKET:
            del self._buffer[:self._start]
            self._start = 0
        return packet

    def poll(self):
        """Return the next packet, None where it is not here within POLL s."""
        packet = self.take()
        if packet is None:
            self._receive(POLL)
            packet = self.take()
        return packet

    def wait(self):
        """Wait for the next packet and return it. Time in which this process itself stood still is no silence
        of the server."""
        remaining, mark = self._timeout, self.received
        packet = self.take()
        while packet is None:
            remaining -= self._receive(min(remaining, SLICE))
            if self.received - mark >= PROGRESS:
                remaining, mark = self._timeout, self.received
            packet = self.take()
            if packet is None and remaining <= 0:
                raise LineError(f"no answer from the server for {self._timeout:g} s")
        return packet

    def _no_packet(self, size):
        """Return the error for a length that can't be one: most often it is text of the login shell, which
        comes again at each try."""
        noise = bytes(self._buffer[self._start:self._start + NOISE]).decode("utf-8", "replace")
        noise = " ".join("".join(c if c.isprintable() else " " for c in noise).split())
        if self._begun:
            text = bytes(self._buffer[self._start:self._start + 4]).isascii()
            return ProtocolError(f"the server sent an SFTP packet of {size} bytes"
                                 + (f' ("{noise}": does a program that its shell starts print that?)' if text
                                    else ""))
        return RemoteError(f'the server answered "{noise}" instead of SFTP: its shell prints something at '
                           f'login. Let ~/.bashrc '
                           "and its like print to a terminal only (`[ -t 1 ] && echo …`) until `ssh HOST "
                           "true` prints nothing, or "
                           "ask for `Subsystem sftp internal-sftp` in its sshd_config, then test the "
                           "connection",
                           code="sftp", said="sftp_noise", detail=noise)

    def _receive(self, seconds):
        """Take what comes within `seconds`; return how many of them passed, none of them beyond."""
        began = time.monotonic()
        try:
            self._stream.settimeout(seconds)
            data = self._stream.recv(RECEIVED)
        except (socket.timeout, TimeoutError):
            return seconds
        except (OSError, EOFError) as error:
            raise LineError(f"the line to the server broke: {error}") from error
        if not data:
            raise LineError("the server closed the line")
        self._buffer += data
        self.received += len(data)
        self.answered_at = time.monotonic()
        return min(seconds, self.answered_at - began)

    def close(self):
        """Close the stream. Never raises."""
        try:
            self._stream.close()
        except (OSError, EOFError):
            pass        # it is gone either way; paramiko's channels say EOFError
