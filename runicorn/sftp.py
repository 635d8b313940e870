"""A read-only SFTP client: hundreds of requests in flight over one byte stream. Knows no SSH, and has no packet that writes.

Protocol: version 3, draft-ietf-secsh-filexfer-02; extension limits@openssh.com, OpenSSH PROTOCOL section 4.8.
One thread owns a client. Requests are values made by `lstat`, `read`, … below; `batch` sends many and returns all answers,
`ask` and `pump` are for who wants to go on while answers come in. Everything a server may send is bounded and checked.
"""

import collections
import functools
import socket
import stat
import struct
import time

from runicorn.errors import DeniedError, LineError, MissingFileError, ProtocolError, SftpError

INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT, OPENDIR, READDIR, REALPATH = 1, 2, 3, 4, 5, 7, 8, 11, 12, 16
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED = 0, 1, 2, 3
FOR_READING = 1                 # SSH_FXF_READ, the only flag ever sent with OPEN
MAX_READ = 255 << 10            # OpenSSH's own: 256 KiB messages less their heads
SAFE_READ = 32 << 10            # what every server must be able to answer
MAX_PACKET = 1 << 20            # bytes; no server's listing comes near
MAX_HANDLE = 256                # bytes, by the draft
MAX_NAMES = 1_000_000           # entries in one folder; a server that lists for ever is cut off there
IN_FLIGHT = 512                 # requests
IN_FLIGHT_BYTES = 16 << 20      # answers asked for; the window of our SSH channel
TIMEOUT = 30                    # s without a whole packet, or 64 KiB of one
PROGRESS = 64 << 10

Attrs = collections.namedtuple("Attrs", "size mtime mode uid gid")
Attrs.__doc__ = """What the server says of a file: size in bytes, mtime in whole s, mode bits; None for what it did not send."""
Request = collections.namedtuple("Request", "kind body about cost parse")


def is_dir(attrs):
    """Whether `attrs` are a folder's."""
    return stat.S_ISDIR(attrs.mode or 0)


def is_file(attrs):
    """Whether `attrs` are a regular file's; a server that sends no mode has only files and folders it does not tell apart."""
    return stat.S_ISREG(attrs.mode or 0)


def is_link(attrs):
    """Whether `attrs` are a symbolic link's."""
    return stat.S_ISLNK(attrs.mode or 0)


# -- requests ------------------------------------------------------------------------------------------------------

def lstat(path):
    """Ask for the Attrs of `path` (str), a link's own."""
    return Request(LSTAT, _string(path), path, 0, _parse_attrs)


def fstat(handle):
    """Ask for the Attrs of an open file."""
    return Request(FSTAT, _string(handle), "an open file", 0, _parse_attrs)


def open_file(path):
    """Ask for a handle (bytes) to read the file `path`."""
    return Request(OPEN, _string(path) + struct.pack(">II", FOR_READING, 0), path, 0, _parse_handle)


def read(handle, offset, length):
    """Ask for at most `length` bytes at `offset`; fewer may come before the end of the file, b"" only at it."""
    body = _string(handle) + struct.pack(">QI", offset, length)
    return Request(READ, body, "an open file", length, functools.partial(_parse_data, length))


def close(handle):
    """Ask to close a handle; the answer is None."""
    return Request(CLOSE, _string(handle), "an open file", 0, None)


def opendir(path):
    """Ask for a handle (bytes) to list the folder `path`."""
    return Request(OPENDIR, _string(path), path, 0, _parse_handle)


def readdir(handle):
    """Ask for the next entries of a folder: a list of (name, Attrs), empty at its end. Undecodable names are None."""
    return Request(READDIR, _string(handle), "an open folder", SAFE_READ, _parse_names)


def realpath(path):
    """Ask for the absolute path (str) of `path`."""
    return Request(REALPATH, _string(path), path, 0, _parse_realpath)


def _limits():
    return Request(EXTENDED, _string(b"limits@openssh.com"), "limits", 0, _parse_limits)


def _string(text):
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return struct.pack(">I", len(raw)) + raw


# -- answers -------------------------------------------------------------------------------------------------------

class _Reader:
    """A packet read from left to right; running past its end is a ProtocolError."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, form):
        try:
            values = struct.unpack_from(form, self.raw, self.at)
        except struct.error as error:
            raise ProtocolError("the server sent an SFTP packet that ends in the middle") from error
        self.at += struct.calcsize(form)
        return values if len(values) > 1 else values[0]

    def string(self, limit=MAX_PACKET):
        size = self.take(">I")
        if size > limit or self.at + size > len(self.raw):
            raise ProtocolError(f"the server sent an SFTP string of {size} bytes where at most {min(limit, len(self.raw) - self.at)} fit")
        self.at += size
        return bytes(self.raw[self.at - size:self.at])

    def attrs(self):
        flags = self.take(">I")
        if flags == 0x0F:                       # what OpenSSH sends
            size, uid, gid, mode, _, mtime = self.take(">QIIIII")
            return Attrs(size, mtime, mode, uid, gid)
        size = self.take(">Q") if flags & 1 else None
        uid, gid = self.take(">II") if flags & 2 else (None, None)
        mode = self.take(">I") if flags & 4 else None
        _, mtime = self.take(">II") if flags & 8 else (None, None)
        for _ in range(self.take(">I") if flags & 0x80000000 else 0):
            self.string()
            self.string()
        return Attrs(size, mtime, mode, uid, gid)


def _parse_attrs(kind, reader):
    return _expect(ATTRS, kind) or reader.attrs()


def _parse_handle(kind, reader):
    return _expect(HANDLE, kind) or reader.string(MAX_HANDLE)


def _parse_data(length, kind, reader):
    return _expect(DATA, kind) or reader.string(length)


def _parse_names(kind, reader):
    _expect(NAME, kind)
    entries = []
    for _ in range(reader.take(">I")):
        name = reader.string()
        reader.string()                         # the long name, as `ls -l` would print it
        entries.append((_decoded(name), reader.attrs()))
    return entries


def _parse_realpath(kind, reader):
    names = _parse_names(kind, reader)
    if len(names) != 1 or not names[0][0]:
        raise ProtocolError("the server did not answer with one path when asked for the real path")
    return names[0][0]


def _parse_limits(kind, reader):
    return _expect(EXTENDED_REPLY, kind) or reader.take(">QQQQ")


def _expect(wanted, kind):
    if kind != wanted:
        raise ProtocolError(f"the server answered with SFTP packet type {kind} where {wanted} was due")


def _decoded(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _status(request, reader):
    """Return what a STATUS answer means: None for OK, b"" or [] at an end, else an SftpError (returned, not raised)."""
    code = reader.take(">I")
    said = reader.string().decode("utf-8", "replace") if reader.at < len(reader.raw) else ""
    if code == OK and request.parse is None:
        return None
    if code == EOF and request.kind in (READ, READDIR):
        return b"" if request.kind == READ else []
    if code == OK:
        raise ProtocolError("the server answered OK where data was due")
    said = "".join(c for c in said if c.isprintable())[:200] or f"status {code}"
    error = {NO_SUCH_FILE: MissingFileError, PERMISSION_DENIED: DeniedError}.get(code, SftpError)
    return error(f"{request.about}: {said}", code)


# -- the client ----------------------------------------------------------------------------------------------------

class Sftp:
    """An SFTP session over `stream`, which has send(bytes) -> int, recv(n) -> bytes, settimeout(s) and close(): a socket fits.

    timeout: s to wait for the next packet. Raises LineError when the stream ends or stalls and ProtocolError when
    the server breaks the protocol; after either the session is of no more use. `sent` and `received` are bytes,
    `requests` a count, `max_handles` how many files may be open at once.
    """

    def __init__(self, stream, timeout=TIMEOUT):
        self._stream, self._timeout = stream, timeout
        self._buffer, self._at = bytearray(), 0
        self._waiting, self._in_flight, self._cost, self._next = collections.deque(), {}, 0, 0
        self.sent = self.received = self.requests = 0
        self.max_read, self.max_handles = SAFE_READ, 100
        self._send(struct.pack(">IBI", 5, INIT, 3))
        packet = self._packet(first=True)
        if packet[0] != VERSION or len(packet) < 5 or struct.unpack_from(">I", packet, 1)[0] < 3:
            raise ProtocolError("the server does not speak SFTP version 3")
        if b"limits@openssh.com" in packet:
            self.ask(_limits(), self._set_limits)       # travels with the first requests, costs no round trip

    def _set_limits(self, limits):
        if isinstance(limits, SftpError):
            return              # announced and refused: the careful defaults stay
        _, longest, _, handles = limits
        self.max_read = max(1024, min(longest or MAX_READ, MAX_READ))
        self.max_handles = max(4, min(handles or 100, IN_FLIGHT))

    # asking

    def ask(self, request, done):
        """Queue a request; `done(result or SftpError)` is called from a later `pump`. Never blocks."""
        self._waiting.append((request, done))

    @property
    def pending(self):
        """How many requests were asked and not yet answered (int)."""
        return len(self._waiting) + len(self._in_flight)

    def pump(self):
        """Send what may be in flight, wait for at least one answer, and hand out all that came."""
        self._flush()
        if not self._in_flight:
            return
        self._answer(self._packet())
        while self._complete():
            self._answer(self._packet())

    def batch(self, requests):
        """Send all requests at once and return their results in order; a refused one's place holds its SftpError."""
        results = {}
        for place, request in enumerate(requests):
            self.ask(request, functools.partial(results.__setitem__, place))
        while len(results) < len(requests):         # others may have asked too; their answers are theirs
            self.pump()
        return [results[place] for place in range(len(requests))]

    def _flush(self):
        out = []
        while self._waiting and len(self._in_flight) < IN_FLIGHT and (self._cost < IN_FLIGHT_BYTES or not self._in_flight):
            request, done = self._waiting.popleft()
            self._next = self._next + 1 & 0xFFFFFFFF
            self._in_flight[self._next] = request, done
            self._cost += request.cost
            out.append(struct.pack(">IBI", len(request.body) + 5, request.kind, self._next) + request.body)
        if out:
            self.requests += len(out)
            self._send(b"".join(out))

    def _answer(self, packet):
        if len(packet) < 5:
            raise ProtocolError("the server sent an SFTP packet without a number")
        kind, number = struct.unpack_from(">BI", packet)
        request, done = self._in_flight.pop(number, (None, None))
        if request is None:
            raise ProtocolError(f"the server answered request {number}, which nobody asked")
        self._cost -= request.cost
        reader = _Reader(packet)
        reader.at = 5
        if kind == STATUS:
            done(_status(request, reader))
        else:
            done(request.parse(kind, reader) if request.parse else _expect(STATUS, kind))

    # the stream

    def _send(self, data):
        view = memoryview(data)
        try:
            self._stream.settimeout(self._timeout)
            while view:
                count = self._stream.send(view[:1 << 20])
                if not count:
                    raise LineError("the line to the server was closed")
                self.sent += count
                view = view[count:]
        except (socket.timeout, TimeoutError) as error:
            raise LineError(f"the server took nothing for {self._timeout:g} s") from error
        except (OSError, EOFError) as error:
            raise LineError(f"the line to the server broke: {error}") from error

    def _complete(self):
        have = len(self._buffer) - self._at
        return have >= 4 and have - 4 >= struct.unpack_from(">I", self._buffer, self._at)[0]

    def _packet(self, first=False):
        """Return the next packet (bytes) without its length."""
        deadline, mark = time.monotonic() + self._timeout, self.received
        while not self._complete():
            if len(self._buffer) - self._at >= 4:
                self._check_size(first)
            self._receive(deadline)
            if self.received - mark >= PROGRESS:
                deadline, mark = time.monotonic() + self._timeout, self.received
        self._check_size(first)
        size, = struct.unpack_from(">I", self._buffer, self._at)
        start = self._at + 4
        packet = bytes(memoryview(self._buffer)[start:start + size])
        self._at = start + size
        if self._at == len(self._buffer) or self._at > MAX_PACKET:
            del self._buffer[:self._at]
            self._at = 0
        return packet

    def _check_size(self, first):
        size, = struct.unpack_from(">I", self._buffer, self._at)
        if 0 < size <= MAX_PACKET:
            return
        if first:
            said = bytes(self._buffer[:80]).decode("utf-8", "replace")
            said = "".join(c if c.isprintable() else " " for c in said).strip()
            raise ProtocolError(f'the server answered "{said}" instead of SFTP; does its shell print something at login?')
        raise ProtocolError(f"the server sent an SFTP packet of {size} bytes")

    def _receive(self, deadline):
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._stream.settimeout(left)
            data = self._stream.recv(MAX_READ)
        except (socket.timeout, TimeoutError) as error:
            raise LineError(f"no answer from the server for {self._timeout:g} s") from error
        except (OSError, EOFError) as error:
            raise LineError(f"the line to the server broke: {error}") from error
        if not data:
            raise LineError("the server closed the line")
        self._buffer += data
        self.received += len(data)

    # one thing at a time

    def _one(self, request):
        result, = self.batch([request])
        if isinstance(result, SftpError):
            raise result
        return result

    def lstat(self, path):
        """Return the Attrs of `path`. Raises SftpError."""
        return self._one(lstat(path))

    def realpath(self, path):
        """Return the absolute path (str) of `path`; "." is where the session starts. Raises SftpError."""
        return self._one(realpath(path))

    def open(self, path):
        """Return a handle (bytes) to read `path`; close it with `close_handle`. Raises SftpError."""
        return self._one(open_file(path))

    def close_handle(self, handle):
        """Close a handle. Raises SftpError."""
        self._one(close(handle))

    def listdir(self, path):
        """Return [(name, Attrs), …] of a folder, without "." and "..", sorted by name; undecodable names are left out."""
        handle = self._one(opendir(path))
        entries, count = [], 0
        while True:
            more = self._one(readdir(handle))
            if not more:
                break
            count += len(more)
            if count > MAX_NAMES:
                raise ProtocolError(f"{path} has more than {MAX_NAMES:,} entries")
            entries += [(name, attrs) for name, attrs in more if name not in (None, ".", "..")]
        self.close_handle(handle)
        return sorted(entries)

    def read_file(self, path, offset=0, length=None, limit=64 << 20):
        """Return bytes `offset` to `offset + length` (default: to the end) of a file, at most `limit`. Raises SftpError."""
        handle = self.open(path)
        try:
            if length is None:
                length = max(0, (self._one(fstat(handle)).size or 0) - offset)
            return self._read_all(handle, offset, min(length, limit))
        finally:
            self.close_handle(handle)

    def _read_all(self, handle, offset, length):
        pieces, done = {}, 0
        while done < length:
            places = [(at, min(self.max_read, length - at)) for at in range(done, length, self.max_read)][:IN_FLIGHT]
            answers = self.batch([read(handle, offset + at, size) for at, size in places])
            for (at, size), answer in zip(places, answers):
                if isinstance(answer, SftpError):
                    raise answer
                pieces[at], done = answer, at + len(answer)
                if len(answer) < size:
                    break               # a short answer: the rest is asked again from there
            if not answer:
                break                   # the file ends here
        return b"".join(piece for _, piece in sorted(pieces.items()))

    def close(self):
        """Close the stream. Never raises."""
        try:
            self._stream.close()
        except (OSError, EOFError):
            pass        # it is gone either way; paramiko's channels say EOFError
