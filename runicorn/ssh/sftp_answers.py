"""SFTP's answers read: files' attributes, handles, data, names, statuses. Whatever a server sends is bounded
and checked here.

Protocol: version 3, draft-ietf-secsh-filexfer-02; extension limits@openssh.com, OpenSSH PROTOCOL section 4.8.
"""

import collections
import struct

from runicorn.errors import DeniedError, MissingFileError, ProtocolError, SftpError

READ, READDIR = 5, 12
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 101, 102, 103, 104, 105, 201
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
MAX_PACKET = 1 << 20            # bytes; no server's listing comes near
MAX_HANDLE = 256                # bytes, by the draft
LARGEST = 1 << 60               # bytes; no file is that large: a size beyond counts as not told

Attrs = collections.namedtuple("Attrs", "size mtime mode uid gid")
Attrs.__doc__ = """What the server says of a file: size in bytes, mtime in whole s, mode bits; None for what
it did not send."""

# Each parser takes (type, packet) and reads from BODY on; what would run past the packet's end is a
# struct.error or a
# ProtocolError. Thousands come a second, so they read by offset instead of through an object.

BODY = 5                        # of a packet without its length: a byte of type, four of number
_U32, _COUNTS, _ATTRS = struct.Struct(">I"), struct.Struct(">QQQQ"), struct.Struct(">IQIIIII")
_PLAIN = 0x0F                   # the flags of attributes as OpenSSH sends them: size, owners, mode, times


def _string_at(raw, offset, limit=MAX_PACKET):
    """Return (the string at `offset` (bytes), where it ends)."""
    size, = _U32.unpack_from(raw, offset)
    end = offset + 4 + size
    if size > limit or end > len(raw):
        raise ProtocolError(f"the server sent an SFTP string of {size} bytes where at most "
                            f"{min(limit, len(raw) - offset - 4)} fit")
    return raw[offset + 4:end], end


def _attrs_at(raw, offset):
    """Return (the Attrs at `offset`, where they end)."""
    flags, = _U32.unpack_from(raw, offset)
    if flags == _PLAIN:
        _, size, uid, gid, mode, _, mtime = _ATTRS.unpack_from(raw, offset)
        return Attrs(size if size < LARGEST else None, mtime, mode, uid, gid), offset + _ATTRS.size
    offset += 4
    size = uid = gid = mode = mtime = None
    if flags & 1:
        size, offset = *struct.unpack_from(">Q", raw, offset), offset + 8
    if flags & 2:
        (uid, gid), offset = struct.unpack_from(">II", raw, offset), offset + 8
    if flags & 4:
        mode, offset = *_U32.unpack_from(raw, offset), offset + 4
    if flags & 8:
        (_, mtime), offset = struct.unpack_from(">II", raw, offset), offset + 8
    if flags & 0x80000000:
        pairs, offset = *_U32.unpack_from(raw, offset), offset + 4
        for _ in range(2 * pairs):
            _, offset = _string_at(raw, offset)
    return Attrs(size if size is None or size < LARGEST else None, mtime, mode, uid, gid), offset


def attrs(kind, raw):
    """Return an Attrs."""
    return expect(ATTRS, kind) or _attrs_at(raw, BODY)[0]


def handle(kind, raw):
    """Return a handle (bytes)."""
    return expect(HANDLE, kind) or _string_at(raw, BODY, MAX_HANDLE)[0]


def data(length, kind, raw):
    """Return what a READ of `length` bytes got (bytes)."""
    return expect(DATA, kind) or _string_at(raw, BODY, length)[0]


def names(kind, raw):
    """Return a folder's entries, [(name or None where it is no UTF-8, Attrs), …]."""
    expect(NAME, kind)
    entries, offset = [], BODY + 4
    for _ in range(*_U32.unpack_from(raw, BODY)):
        # What is after each of both says whether it ran past the packet's end
        size, = _U32.unpack_from(raw, offset)
        offset += 4 + size
        name = raw[offset - size:offset]
        size, = _U32.unpack_from(raw, offset)           # of the long name, as `ls -l` would print it
        attrs, offset = _attrs_at(raw, offset + 4 + size)
        entries.append((_decoded(name), attrs))
    return entries


def real_path(kind, raw):
    """Return the one path (str) that REALPATH tells: a home folder's name may be of Latin-1."""
    real = path(kind, raw) if len(names(kind, raw)) == 1 else ""
    if not real:
        raise ProtocolError("the server did not answer with one path when asked for the real path")
    return real


def path(kind, raw):
    """Return a path (str), undecodable bytes escaped (PEP 383)."""
    expect(NAME, kind)
    return (_string_at(raw, BODY + 4)[0].decode("utf-8", "surrogateescape") if _U32.unpack_from(raw, BODY)[0]
            else "")


def limits(kind, raw):
    """Return (longest packet, longest READ, longest WRITE, most handles), 0 for none (int)."""
    return expect(EXTENDED_REPLY, kind) or _COUNTS.unpack_from(raw, BODY)


def expect(expected, kind):
    """Raise a ProtocolError unless the answer is of the kind `expected`."""
    if kind != expected:
        raise ProtocolError(f"the server answered with SFTP packet type {kind} where {expected} was due")


def _decoded(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def status(request, raw):
    """Return what a STATUS answer means: None for OK, b"" or [] at an end, else an SftpError (returned, not
    raised)."""
    code, = _U32.unpack_from(raw, BODY)
    if code == OK and request.parse is None:
        return None
    if code == EOF and request.kind in (READ, READDIR):
        return b"" if request.kind == READ else []
    if code == OK:
        raise ProtocolError("the server answered OK where data was due")
    words = _string_at(raw, BODY + 4)[0].decode("utf-8", "replace") if len(raw) > BODY + 4 else ""
    words = "".join(c for c in words if c.isprintable())[:200] or f"status {code}"
    error = {NO_SUCH_FILE: MissingFileError, PERMISSION_DENIED: DeniedError}.get(code, SftpError)
    return error(f"{request.about}: {words}", code)
