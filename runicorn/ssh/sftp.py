"""A read-only SFTP client: hundreds of requests in flight over one byte stream. Knows no SSH, and has no
packet that writes.

Protocol: version 3, draft-ietf-secsh-filexfer-02; extension limits@openssh.com, OpenSSH PROTOCOL section 4.8.
One thread owns a client. Requests are values made by `lstat`, `read`, … below; `batch` sends many and returns
all answers, `ask` and `pump` are for who wants to go on while answers come in. What a server grants is
learned in `grants`.
"""

import collections
import functools
import stat
import struct
import time

from runicorn.errors import HandlesError, ProtocolError, RemoteError, SftpError
from runicorn.ssh import grants
from runicorn.ssh import sftp_answers as answers
from runicorn.ssh.packets import Packets
from runicorn.ssh.sftp_answers import FAILURE, STATUS

INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT = 1, 2, 3, 4, 5, 7, 8
OPENDIR, READDIR, REALPATH, STAT, READLINK = 11, 12, 16, 17, 19
EXTENDED = 200
FOR_READING = 1                 # SSH_FXF_READ, the only flag ever sent with OPEN
# OpenSSH's own, 256 KiB messages less their heads; what every server must answer
MAX_READ, SAFE_READ = 255 << 10, 32 << 10
ENTRIES = 8 << 10               # bytes that an answer with a folder's entries has at the usual most
MAX_NAMES = 1_000_000           # entries in one folder; a server that lists for ever is cut off there
# Files and folders open at once, whatever the server grants; where it announces nothing
MOST_HANDLES, USUAL_HANDLES = 1024, 100
IN_FLIGHT_BYTES = 16 << 20      # answers asked for; the window of our SSH channel
BURST = 32                      # answers handed out between two sends
TIMEOUT = 30                    # s without an answer

Request = collections.namedtuple("Request", "kind body about cost parse")


def is_dir(attrs):
    """Whether `attrs` are a folder's."""
    return stat.S_ISDIR(attrs.mode or 0)


def is_file(attrs):
    """Whether `attrs` are a regular file's; a server that sends no mode has only files and folders it does
    not tell apart."""
    return stat.S_ISREG(attrs.mode or 0)


def refusal(path, attrs):
    """Return the SftpError for which a file may not be opened, None if it may. attrs: what LSTAT of it gave,
    an Attrs or an SftpError.

    An OPEN of a pipe would hold the server's process up for ever, and one of a device does who knows what.
    """
    if isinstance(attrs, SftpError):
        return attrs
    return None if is_file(attrs) else SftpError(f"{path}: is no regular file", 4)


def is_link(attrs):
    """Whether `attrs` are a symbolic link's."""
    return stat.S_ISLNK(attrs.mode or 0)


# -- requests ------------------------------------------------------------------------------------------------

def lstat(path):
    """Ask for the Attrs of `path` (str), a link's own."""
    return Request(LSTAT, _string(path), path, 0, answers.attrs)


def stat_target(path):
    """Ask for the Attrs of `path` (str), of what a link leads to."""
    return Request(STAT, _string(path), path, 0, answers.attrs)


def fstat(handle):
    """Ask for the Attrs of an open file."""
    return Request(FSTAT, _string(handle), "an open file", 0, answers.attrs)


def open_file(path):
    """Ask for a handle (bytes) to read the file `path`."""
    return Request(OPEN, _string(path) + struct.pack(">II", FOR_READING, 0), path, 0, answers.handle)


def read(handle, offset, length):
    """Ask for at most `length` bytes at `offset`; fewer may come before the end of the file, b"" only at
    it."""
    body = _string(handle) + struct.pack(">QI", offset, length)
    return Request(READ, body, "an open file", length, functools.partial(answers.data, length))


def _shortened(request, length):
    """Return a READ that asks for `length` bytes at most."""
    body = request.body[:-4] + struct.pack(">I", length)
    return request._replace(body=body, cost=length, parse=functools.partial(answers.data, length))


def close(handle):
    """Ask to close a handle; the answer is None."""
    return Request(CLOSE, _string(handle), "an open file", 0, None)


def opendir(path):
    """Ask for a handle (bytes) to list the folder `path`."""
    return Request(OPENDIR, _string(path), path, 0, answers.handle)


def readdir(handle):
    """Ask for the next entries of a folder: a list of (name, Attrs), empty at its end. Undecodable names are
    None."""
    return Request(READDIR, _string(handle), "an open folder", ENTRIES, answers.names)


def realpath(path):
    """Ask for the absolute path (str) of `path`."""
    return Request(REALPATH, _string(path), path, 0, answers.real_path)


def resolve(path):
    """Ask for the absolute path (str) of `path`, in which some servers follow links; undecodable bytes are
    escaped (PEP 383)."""
    return Request(REALPATH, _string(path), path, 0, answers.path)


def readlink(path):
    """Ask for what the link `path` says (str); undecodable bytes are escaped (PEP 383)."""
    return Request(READLINK, _string(path), path, 0, answers.path)


def _limits():
    return Request(EXTENDED, _string(b"limits@openssh.com"), "limits", 0, answers.limits)


def _string(text):
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return struct.pack(">I", len(raw)) + raw


# -- the client ----------------------------------------------------------------------------------------------

class Sftp:
    """An SFTP session over `stream`, which has send(bytes) -> int, recv(n) -> bytes, settimeout(s) and
    close(): a socket fits.

    timeout: s to wait for the next packet; first: for the first, before which there may be a login. start: a
    path of which `start` becomes the absolute one (str or SftpError), at no turn of its own. Raises LineError
    when the stream ends or stalls and ProtocolError when the server breaks the protocol; after either the
    session is of no more use. `sent` and `received` are bytes, `requests` a count, `folders` how many folders
    are being listed, `grants` a grants.Grants. `unanswered` counts requests now, `crowd` at most;
    `crowded_at` is when that first was half of it, `answered_at` when the last answer came (monotonic s).
    """

    def __init__(self, stream, timeout=TIMEOUT, first=None, start=None):
        self._packets = Packets(stream, first or timeout)
        self._waiting, self._in_flight, self._cost, self._next = collections.deque(), {}, 0, 0
        # The first: of those in flight
        self._closing, self._refill, self._shed, self._idle = 0, None, None, None
        self.requests = self.folders = self.crowd = 0
        self.crowded_at = 0.0
        self.grants = grants.Grants(USUAL_HANDLES, SAFE_READ)
        self.start = None
        self._packets.send(struct.pack(">IBI", 5, INIT, 3))
        if start is not None:
            self.ask(realpath(start), functools.partial(setattr, self, "start"))
            self.send()                 # behind INIT, for the same turn
        packet = self._packets.wait()
        self._packets.begin(timeout)
        if packet[0] != VERSION or len(packet) < 5 or struct.unpack_from(">I", packet, 1)[0] < 3:
            raise RemoteError("the server does not speak SFTP version 3, which every client since 2001 does",
                              code="sftp", said="sftp_version")
        if b"limits@openssh.com" in packet:
            self.ask(_limits(), self._set_limits)       # travels with the first requests, costs no round trip
        while start is not None and self.start is None:
            self.pump()

    def begin_at(self, path):
        """Have `start` be the absolute path of `path`."""
        self.start, = self.batch([realpath(path)])

    def _set_limits(self, limits):
        if isinstance(limits, SftpError):
            return              # announced and refused: the careful defaults stay
        _, longest, _, handles = limits
        self.grants.announce(max(1, min(handles or USUAL_HANDLES, MOST_HANDLES)),
                             max(1024, min(longest or MAX_READ, MAX_READ)))

    def call(self, before_sending=None, when_full=None, while_idle=None):
        """before_sending(): asks for more, so that the line stays full; when_full(): closes files, and tells
        whether any were open; while_idle(): does a little of what can be done while no answer is here, and
        tells whether there was any of it; asks nothing."""
        self._refill, self._shed, self._idle = (before_sending or self._refill, when_full or self._shed,
                                                while_idle or self._idle)

    def count_folders(self, count):
        """So many more folders are being listed; below 0: fewer."""
        self.folders += count

    def ask(self, request, take):
        """Queue a request; `take(result or SftpError)` is called from a later `pump`. Never blocks."""
        self._waiting.append(grants.Asked(request, take))

    @property
    def sent(self):
        return self._packets.sent

    @property
    def received(self):
        return self._packets.received

    @property
    def answered_at(self):
        return self._packets.answered_at

    @property
    def unanswered(self):
        return len(self._in_flight)

    @property
    def max_read(self):
        """How many bytes a READ may ask for (int)."""
        return self.grants.longest

    @property
    def max_handles(self):
        """How many files and folders may be open at once (int)."""
        return self.grants.handles

    @property
    def room(self):
        """How many files and folders may be open for fetching and listing (int)."""
        return max(1, self.max_handles - self.grants.spare)

    @property
    def lasting(self):
        """How many files may stay open for later (int)."""
        return max(0, self.grants.spare - 1)

    def pump(self):
        """Send what may be in flight, wait for at least one answer, and hand out what came, BURST at most.

        More stay for the next call, so that the server is asked on while we are at work: else both would wait
        in turn.
        """
        self.send()
        if not self._in_flight:
            return self._unblock()
        packet = self._packets.take()
        while packet is None and self._idle and self._idle():
            packet = self._packets.poll()
        self._answer(packet or self._packets.wait())
        for _ in range(BURST - 1):
            packet = self._packets.take()
            if packet is None:
                break
            self._answer(packet)

    def batch(self, requests):
        """Send all requests at once and return their results in order; a refused one's place holds its
        SftpError."""
        return self.gather([functools.partial(self.ask, request) for request in requests])

    def send(self):
        """Send what may be in flight; waits for nothing but the line's taking it."""
        if self._refill:
            self._refill()
        out, waiting, in_flight = [], self._waiting, self._in_flight
        at_once, uncounted = self.grants.at_once, not self.grants.learned       # nobody waits for a CLOSE
        while (waiting and len(in_flight) - (self._closing if uncounted else 0) < at_once
               and (self._cost < IN_FLIGHT_BYTES or not in_flight)):
            pending = waiting.popleft()
            request = pending.request
            if request.kind in grants.OPENING and not self.grants.opens(pending):
                continue
            self._next = self._next + 1 & 0xFFFFFFFF
            in_flight[self._next] = pending
            self._cost += request.cost
            self._closing += request.kind == CLOSE
            out.append(struct.pack(">IBI", len(request.body) + 5, request.kind, self._next) + request.body)
        if out:
            self.requests += len(out)
            if len(in_flight) > self.crowd:
                self.crowd, self.crowded_at = (len(in_flight),
                                               self.crowded_at if len(in_flight) < 2 * self.crowd
                                               else time.monotonic())
            self._packets.send(b"".join(out))

    def _unblock(self):
        """Nothing is in flight: wait where the server wants a pause; where requests wait for files to be
        closed, close some."""
        pause = self.grants.pausing()
        if pause:
            return time.sleep(pause)
        if not self.grants.deferred or self._shed and self._shed():
            return
        for pending in self.grants.take_deferred():
            pending.done(HandlesError(f"{pending.request.about}: the server lets no more files be open at "
                                      f"once", FAILURE))

    def _answer(self, packet):
        if len(packet) < answers.BODY:
            raise ProtocolError("the server sent an SFTP packet without a number")
        kind, number = struct.unpack_from(">BI", packet)
        pending = self._in_flight.pop(number, None)
        if pending is None:
            raise ProtocolError(f"the server answered request {number}, which nobody asked")
        request = pending.request
        self._cost -= request.cost
        self._closing -= request.kind == CLOSE
        try:
            if kind == STATUS:
                result = answers.status(request, packet)
            else:
                result = request.parse(kind, packet) if request.parse else answers.expect(STATUS, kind)
        except struct.error as error:
            raise ProtocolError("the server sent an SFTP packet that ends in the middle") from error
        if not self._is_again(pending, result):
            pending.done(result)

    def _is_again(self, pending, result):
        """Whether a request was refused with too much else, so that it is asked again (bool)."""
        again = self.grants.judge(pending, result, len(self._in_flight))
        if again and again.trial.why is grants.LENGTH:
            again = again._replace(request=_shortened(again.request, again.trial.level))
        if again and again.trial.why is grants.PAUSE:
            # What others ask meanwhile tells whether it is this request's own trouble
            self._waiting.append(again)
        elif again:
            self._waiting.appendleft(again)
        if self.grants.deferred:
            self._waiting.extendleft(reversed(self.grants.freed()))
        return again is not None

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
        """Return a handle (bytes) to read the regular file `path`; close it with `close_handle`. Raises
        SftpError."""
        return self._looked_at(path)[0]

    def _looked_at(self, path, attrs=None):
        """Return (a handle to read the regular file `path`, its size). attrs: what LSTAT of it gave a moment
        ago."""
        attrs = attrs or self.lstat(path)
        error = refusal(path, attrs)
        if error:
            raise error
        return self._one(open_file(path)), attrs.size or 0

    def ask_open(self, path, take):
        """As `ask` with OPEN, but LSTAT first: only a regular file is opened, and `take` is handed the Attrs,
        too."""
        def looked(attrs):
            error = refusal(path, attrs)
            take(error) if error else self.ask(open_file(path), lambda handle: take(handle, attrs))
        self.ask(lstat(path), looked)

    def ask_bytes(self, handle, offset, length, take):
        """As `ask` with READs of an open file: `take` gets `length` bytes at `offset`, fewer only at the
        file's end, or the SftpError."""
        def ask_on(data_before):
            size = min(length - len(data_before), self.max_read)
            self.ask(read(handle, offset + len(data_before), size), functools.partial(came, data_before))

        def came(data_before, data):
            if isinstance(data, SftpError):         # after some bytes: there are servers that so say the end
                take(data_before or data)
            elif not data or len(data_before) + len(data) >= length:
                take(data_before + data)
            else:
                ask_on(data_before + data)
        ask_on(b"")

    def gather(self, asks):
        """Return in order what each of `asks`, functions that take a `done`, hands to it."""
        results = {}
        for index, ask in enumerate(asks):
            ask(functools.partial(results.__setitem__, index))
        while len(results) < len(asks):         # others may have asked too; their answers are theirs
            self.pump()
        return [results[index] for index in range(len(asks))]

    def parts(self, places):
        """Return the bytes (or the SftpError) at each of `places`, [(path of a file known as regular, offset,
        length), …]: each file is opened, read and closed, as many at once as the server lets be open."""
        def ask_part(path, offset, length, take):
            def opened(handle):
                if isinstance(handle, SftpError):
                    take(handle)
                else:
                    self.ask_bytes(handle, offset, length, functools.partial(came, handle))

            def came(handle, data):
                self.ask(close(handle), lambda answer: None)
                take(data)
            self.ask(open_file(path), opened)
        return self.gather([functools.partial(ask_part, *stretch) for stretch in places])

    def close_handle(self, handle):
        """Close a handle. Raises SftpError."""
        self._one(close(handle))

    def listdir(self, path):
        """Return [(name, Attrs), …] of a folder, without "." and "..", sorted by name; undecodable names are
        left out."""
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

    def read_pieces(self, path, limit, attrs=None):
        """Yield the bytes of a file, at most `limit`, in pieces of up to IN_FLIGHT_BYTES. attrs: its LSTAT,
        if that was asked for a moment ago. Raises SftpError."""
        (handle, size), offset = self._looked_at(path, attrs), 0
        size = min(size, limit)
        try:
            while offset < size:
                piece = self._read_all(handle, offset, min(IN_FLIGHT_BYTES, size - offset))
                yield piece
                offset = offset + len(piece) if piece else size
        finally:
            self.ask(close(handle), lambda answer: None)        # travels with what is asked next

    def _read_all(self, handle, offset, length):
        pieces, size_read = {}, 0
        while size_read < length:
            places = [(start, min(self.max_read, length - start))
                      for start in range(size_read, length, self.max_read)][:grants.REQUESTS]
            answers = self.batch([read(handle, offset + start, size) for start, size in places])
            for (start, size), answer in zip(places, answers):
                if isinstance(answer, SftpError):
                    raise answer
                pieces[start], size_read = answer, start + len(answer)
                if len(answer) < size:
                    break               # a short answer: the rest is asked again from there
            if not answer:
                break                   # the file ends here
        return b"".join(piece for _, piece in sorted(pieces.items()))

    def close(self):
        """Close the stream. Never raises."""
        self._packets.close()
