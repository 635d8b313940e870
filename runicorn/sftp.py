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

from runicorn.errors import DeniedError, LineError, MissingFileError, ProtocolError, SftpError, coded

INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT, OPENDIR, READDIR, REALPATH, STAT, READLINK = 1, 2, 3, 4, 5, 7, 8, 11, 12, 16, 17, 19
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED = 0, 1, 2, 3
FOR_READING = 1                 # SSH_FXF_READ, the only flag ever sent with OPEN
MAX_READ = 255 << 10            # OpenSSH's own: 256 KiB messages less their heads
SAFE_READ = 32 << 10            # what every server must be able to answer
MAX_PACKET = 1 << 20            # bytes; no server's listing comes near
MAX_HANDLE = 256                # bytes, by the draft
MAX_NAMES = 1_000_000           # entries in one folder; a server that lists for ever is cut off there
LARGEST = 1 << 60               # bytes; no file is that large: a size beyond counts as not told
IN_FLIGHT = 512                 # requests whose answers tell something; nobody waits for a CLOSE
MOST_HANDLES = 1024             # files and folders open at once, whatever the server grants
SPARE_HANDLES = 60              # of those, for tails and single questions
IN_FLIGHT_BYTES = 16 << 20      # answers asked for; the window of our SSH channel
BURST = 32                      # answers handed out between two sends
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


def refusal(path, attrs):
    """Return the SftpError for which a file may not be opened, None if it may. attrs: what LSTAT of it gave, an Attrs or an SftpError.

    An OPEN of a pipe would hold the server's process up for ever, and one of a device does who knows what.
    """
    if isinstance(attrs, SftpError):
        return attrs
    return None if is_file(attrs) else SftpError(f"{path}: is no regular file", 4)


def is_link(attrs):
    """Whether `attrs` are a symbolic link's."""
    return stat.S_ISLNK(attrs.mode or 0)


# -- requests ------------------------------------------------------------------------------------------------------

def lstat(path):
    """Ask for the Attrs of `path` (str), a link's own."""
    return Request(LSTAT, _string(path), path, 0, _parse_attrs)


def stat_target(path):
    """Ask for the Attrs of `path` (str), of what a link leads to."""
    return Request(STAT, _string(path), path, 0, _parse_attrs)


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


def resolve(path):
    """Ask for the absolute path (str) of `path`, in which some servers follow links; undecodable bytes are escaped (PEP 383)."""
    return Request(REALPATH, _string(path), path, 0, _parse_path)


def readlink(path):
    """Ask for what the link `path` says (str); undecodable bytes are escaped (PEP 383)."""
    return Request(READLINK, _string(path), path, 0, _parse_path)


def _limits():
    return Request(EXTENDED, _string(b"limits@openssh.com"), "limits", 0, _parse_limits)


def _string(text):
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return struct.pack(">I", len(raw)) + raw


# -- answers -------------------------------------------------------------------------------------------------------
#
# Each parser takes (type, packet) and reads from BODY on; what would run past the packet's end is a struct.error or a
# ProtocolError. Thousands come a second, so they read by offset instead of through an object.

BODY = 5                        # of a packet without its length: a byte of type, four of number
_U32, _COUNTS, _ATTRS = struct.Struct(">I"), struct.Struct(">QQQQ"), struct.Struct(">IQIIIII")
_PLAIN = 0x0F                   # the flags of attributes as OpenSSH sends them: size, owners, mode, times


def _string_at(raw, at, limit=MAX_PACKET):
    """Return (the string at `at` (bytes), where it ends)."""
    size, = _U32.unpack_from(raw, at)
    end = at + 4 + size
    if size > limit or end > len(raw):
        raise ProtocolError(f"the server sent an SFTP string of {size} bytes where at most {min(limit, len(raw) - at - 4)} fit")
    return raw[at + 4:end], end


def _attrs_at(raw, at):
    """Return (the Attrs at `at`, where they end)."""
    flags, = _U32.unpack_from(raw, at)
    if flags == _PLAIN:
        _, size, uid, gid, mode, _, mtime = _ATTRS.unpack_from(raw, at)
        return Attrs(size if size < LARGEST else None, mtime, mode, uid, gid), at + _ATTRS.size
    at += 4
    size = uid = gid = mode = mtime = None
    if flags & 1:
        size, at = *struct.unpack_from(">Q", raw, at), at + 8
    if flags & 2:
        (uid, gid), at = struct.unpack_from(">II", raw, at), at + 8
    if flags & 4:
        mode, at = *_U32.unpack_from(raw, at), at + 4
    if flags & 8:
        (_, mtime), at = struct.unpack_from(">II", raw, at), at + 8
    if flags & 0x80000000:
        pairs, at = *_U32.unpack_from(raw, at), at + 4
        for _ in range(2 * pairs):
            _, at = _string_at(raw, at)
    return Attrs(size if size is None or size < LARGEST else None, mtime, mode, uid, gid), at


def _parse_attrs(kind, raw):
    return _expect(ATTRS, kind) or _attrs_at(raw, BODY)[0]


def _parse_handle(kind, raw):
    return _expect(HANDLE, kind) or _string_at(raw, BODY, MAX_HANDLE)[0]


def _parse_data(length, kind, raw):
    return _expect(DATA, kind) or _string_at(raw, BODY, length)[0]


def _parse_names(kind, raw):
    _expect(NAME, kind)
    entries, at = [], BODY + 4
    for _ in range(*_U32.unpack_from(raw, BODY)):
        name, at = _string_at(raw, at)
        _, at = _string_at(raw, at)             # the long name, as `ls -l` would print it
        attrs, at = _attrs_at(raw, at)
        entries.append((_decoded(name), attrs))
    return entries


def _parse_realpath(kind, raw):
    names = _parse_names(kind, raw)
    if len(names) != 1 or not names[0][0]:
        raise ProtocolError("the server did not answer with one path when asked for the real path")
    return names[0][0]


def _parse_path(kind, raw):
    _expect(NAME, kind)
    return _string_at(raw, BODY + 4)[0].decode("utf-8", "surrogateescape") if _U32.unpack_from(raw, BODY)[0] else ""


def _parse_limits(kind, raw):
    return _expect(EXTENDED_REPLY, kind) or _COUNTS.unpack_from(raw, BODY)


def _expect(wanted, kind):
    if kind != wanted:
        raise ProtocolError(f"the server answered with SFTP packet type {kind} where {wanted} was due")


def _decoded(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _status(request, raw):
    """Return what a STATUS answer means: None for OK, b"" or [] at an end, else an SftpError (returned, not raised)."""
    code, = _U32.unpack_from(raw, BODY)
    if code == OK and request.parse is None:
        return None
    if code == EOF and request.kind in (READ, READDIR):
        return b"" if request.kind == READ else []
    if code == OK:
        raise ProtocolError("the server answered OK where data was due")
    said = _string_at(raw, BODY + 4)[0].decode("utf-8", "replace") if len(raw) > BODY + 4 else ""
    said = "".join(c for c in said if c.isprintable())[:200] or f"status {code}"
    error = {NO_SUCH_FILE: MissingFileError, PERMISSION_DENIED: DeniedError}.get(code, SftpError)
    return error(f"{request.about}: {said}", code)


# -- the client ----------------------------------------------------------------------------------------------------

class Sftp:
    """An SFTP session over `stream`, which has send(bytes) -> int, recv(n) -> bytes, settimeout(s) and close(): a socket fits.

    timeout: s to wait for the next packet; first: for the first, before which there may be a login. Raises LineError when the
    stream ends or stalls and ProtocolError when the server breaks the protocol; after either the session is of no more use.
    `sent` and `received` are bytes, `requests` a count, `max_handles` how many files may be open at once, `folders` how many of
    them are folders being listed. `refill()`, when set, is called before each sending: whoever has much to fetch asks on there,
    so that the line is full while somebody else waits for an answer.
    """

    def __init__(self, stream, timeout=TIMEOUT, first=None):
        self._stream, self._timeout = stream, first or timeout
        self._buffer, self._at = bytearray(), 0
        self._waiting, self._in_flight, self._cost, self._next = collections.deque(), {}, 0, 0
        self._closing = 0               # of those in flight
        self.refill = None
        self.sent = self.received = self.requests = self.folders = 0
        self.max_read, self.max_handles = SAFE_READ, 100
        self._send(struct.pack(">IBI", 5, INIT, 3))
        packet = self._packet()
        self._timeout = timeout
        if packet[0] != VERSION or len(packet) < 5 or struct.unpack_from(">I", packet, 1)[0] < 3:
            raise ProtocolError("the server does not speak SFTP version 3")
        if b"limits@openssh.com" in packet:
            self.ask(_limits(), self._set_limits)       # travels with the first requests, costs no round trip

    def _set_limits(self, limits):
        if isinstance(limits, SftpError):
            return              # announced and refused: the careful defaults stay
        _, longest, _, handles = limits
        self.max_read = max(1024, min(longest or MAX_READ, MAX_READ))
        self.max_handles = max(4, min(handles or 100, MOST_HANDLES))

    # asking

    def ask(self, request, done):
        """Queue a request; `done(result or SftpError)` is called from a later `pump`. Never blocks."""
        self._waiting.append((request, done))

    @property
    def room(self):
        """How many files and folders may be open for fetching and listing (int)."""
        return max(8, self.max_handles - SPARE_HANDLES)

    def pump(self):
        """Send what may be in flight, wait for at least one answer, and hand out what came, BURST at most.

        More stay for the next call, so that the server is asked on while we are at work: else both would wait in turn.
        """
        self.send()
        if not self._in_flight:
            return
        self._answer(self._packet())
        for _ in range(BURST - 1):
            packet = self._whole()
            if packet is None:
                break
            self._answer(packet)

    def batch(self, requests):
        """Send all requests at once and return their results in order; a refused one's place holds its SftpError."""
        results = {}
        for place, request in enumerate(requests):
            self.ask(request, functools.partial(results.__setitem__, place))
        while len(results) < len(requests):         # others may have asked too; their answers are theirs
            self.pump()
        return [results[place] for place in range(len(requests))]

    def send(self):
        """Send what may be in flight; waits for nothing but the line's taking it."""
        if self.refill:
            self.refill()
        out = []
        while self._waiting and len(self._in_flight) - self._closing < IN_FLIGHT and (self._cost < IN_FLIGHT_BYTES or not self._in_flight):
            request, done = self._waiting.popleft()
            self._next = self._next + 1 & 0xFFFFFFFF
            self._in_flight[self._next] = request, done
            self._cost += request.cost
            self._closing += request.kind == CLOSE
            out.append(struct.pack(">IBI", len(request.body) + 5, request.kind, self._next) + request.body)
        if out:
            self.requests += len(out)
            self._send(b"".join(out))

    def _answer(self, packet):
        if len(packet) < BODY:
            raise ProtocolError("the server sent an SFTP packet without a number")
        kind, number = packet[0], *_U32.unpack_from(packet, 1)
        request, done = self._in_flight.pop(number, (None, None))
        if request is None:
            raise ProtocolError(f"the server answered request {number}, which nobody asked")
        self._cost -= request.cost
        self._closing -= request.kind == CLOSE
        try:
            if kind == STATUS:
                result = _status(request, packet)
            else:
                result = request.parse(kind, packet) if request.parse else _expect(STATUS, kind)
        except struct.error as error:
            raise ProtocolError("the server sent an SFTP packet that ends in the middle") from error
        done(result)

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

    def _whole(self):
        """Return the next packet (bytes) without its length if all of it is here, else None."""
        have = len(self._buffer) - self._at
        if have < 4:
            return None
        size, = _U32.unpack_from(self._buffer, self._at)
        if not 0 < size <= MAX_PACKET:
            raise self._no_packet(size)
        if have - 4 < size:
            return None
        start = self._at + 4
        packet = bytes(memoryview(self._buffer)[start:start + size])
        self._at = start + size
        if self._at == len(self._buffer) or self._at > MAX_PACKET:
            del self._buffer[:self._at]
            self._at = 0
        return packet

    def _packet(self):
        """Wait for the next packet and return it."""
        deadline, mark = time.monotonic() + self._timeout, self.received
        packet = self._whole()
        while packet is None:
            self._receive(deadline)
            if self.received - mark >= PROGRESS:
                deadline, mark = time.monotonic() + self._timeout, self.received
            packet = self._whole()
        return packet

    def _no_packet(self, size):
        """Return the error for a length that can't be one; before the first packet it is text, of a shell most often."""
        if self.requests or self._at:
            return ProtocolError(f"the server sent an SFTP packet of {size} bytes")
        said = bytes(self._buffer[:80]).decode("utf-8", "replace")
        said = "".join(c if c.isprintable() else " " for c in said).strip()
        return coded(ProtocolError(f'the server answered "{said}" instead of SFTP; does its shell print something at login? Let it print '
                                   "to a terminal only, or ask for `Subsystem sftp internal-sftp` in its sshd_config"),
                     "sftp", said="sftp_noise", detail=said)

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
        """Return a handle (bytes) to read the regular file `path`; close it with `close_handle`. Raises SftpError."""
        error = refusal(path, *self.batch([lstat(path)]))
        if error:
            raise error
        return self._one(open_file(path))

    def ask_open(self, path, done):
        """As `ask` with OPEN, but LSTAT first: only a regular file is opened."""
        def looked(attrs):
            error = refusal(path, attrs)
            done(error) if error else self.ask(open_file(path), done)
        self.ask(lstat(path), looked)

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
        attrs = self.lstat(path)
        error = refusal(path, attrs)
        if error:
            raise error
        handle = self._one(open_file(path))
        try:
            length = max(0, (attrs.size or 0) - offset) if length is None else length
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
