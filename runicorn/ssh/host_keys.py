"""known_hosts files, leniently read: is this host key known, unknown, changed or revoked? Talks to no server.

Formats: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; certificates: OpenSSH's PROTOCOL.certkeys.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import struct
import subprocess
from collections import namedtuple
from pathlib import Path

from runicorn import layout, local_disk
from runicorn.errors import HostKeyError

# marker: "", "@revoked" or "@cert-authority"; blob: bytes of the key
Line = namedtuple("Line", "marker names key_type blob path")
# kind: known, unknown, changed, revoked; expected: [Line] of this host
Verdict = namedtuple("Verdict", "kind expected")
Certificate = namedtuple("Certificate", "kind principals after before critical authority signature signed")

HOST_CERTIFICATE = 2
# How a key revocation list begins (OpenSSH's PROTOCOL.krl); s for ssh-keygen to read it
KRL, KRL_SECONDS = b"SSHKRL\n\0", 10
# How ssh-keygen -Q ends where a key is in the list; 255 where it could not tell
REVOKED = 1
CERTIFIED = "-cert-v01@openssh.com"
# How many strings of key material follow the nonce in a certificate (PROTOCOL.certkeys)
KEY_STRINGS = {"ssh-rsa": 2, "ssh-ed25519": 1, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2,
               "ecdsa-sha2-nistp521": 2}


def read(paths, name):
    """Return the lines (list of Line) of all `paths` that can be read and speak about `name` (as host_name
    gives it); lines that make no sense are passed over. Each file is read again only when it changed: some
    have 100,000 lines."""
    return [line for path in paths for line in _lines_about(os.fspath(path), name)]


def _lines_about(path, name):
    try:
        status = os.stat(path)
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if _cache.get((path, name), (None,))[0] != stamp:
            data = local_disk.utf8(layout.read_regular(path))
            _keep((path, name), stamp, _about(data, name, path))
    except OSError:
        # Absent or private: the same as knowing no host, and an unknown key is asked about
        return []
    return _cache[path, name][1]


_cache = {}                      # (path, host name) -> (stamp of the file, its lines about the host)
KEPT = 1000                     # of those


def _keep(key, stamp, lines):
    while len(_cache) >= KEPT:
        del _cache[next(iter(_cache))]
    _cache[key] = stamp, lines


def _about(data, name, path):
    """Return the lines about `name` in the bytes of a file. Only those with the name, a pattern, a marker or
    a hash are looked at."""
    raw = name.encode("utf-8", "surrogateescape")
    chosen = {match.start(): match[0] for match in SIGNED.finditer(data)}
    if b"*" in data or b"?" in data:
        chosen.update((match.start(), match[0]) for match in PATTERNED.finditer(data))
    lowered = data.lower()
    index = lowered.find(raw)
    while index >= 0:
        start, end = data.rfind(b"\n", 0, index) + 1, data.find(b"\n", index)
        chosen[start] = data[start:end if end >= 0 else len(data)]
        index = lowered.find(raw, end) if end >= 0 else -1
    lines = []
    for _, text in sorted(chosen.items()):
        marker, *fields = text.split(None, 2)
        names = marker if marker[:1] != b"@" else fields[0] if fields else b""
        # Before anything else is done with it
        if _is_among(name, names.decode("utf-8", "surrogateescape")):
            line = parse(text.decode("utf-8", "surrogateescape"), path)
            lines += [line] if line else []
    return lines


SIGNED = re.compile(rb"^[ \t]*[@|][^\n]*", re.MULTILINE)
PATTERNED = re.compile(rb"^[ \t]*[^\s#@|]*[*?][^\n]*", re.MULTILINE)


def parse(text, path=None):
    """Return the Line in one line of a known_hosts file, or None for a comment and for what makes no
    sense."""
    fields = text.split()
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked", "@cert-authority"):
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Line(marker, fields[0], fields[1], blob, path)


def host_name(host, port):
    """Return the name under which known_hosts keeps a host (str): "host", or "[host]:port" for another port
    than 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def matches(line, name):
    """Whether `line` speaks about `name` (as host_name gives it): hashed, listed or by pattern, "!"
    excluding."""
    return _is_among(name, line.names)


def _is_among(name, names):
    if names.startswith("|1|"):
        return _hashed(names, name.encode("utf-8", "surrogateescape"))
    listed = False
    for pattern in names.lower().split(","):
        if _wildcard(pattern.lstrip("!"), name):
            if pattern.startswith("!"):
                return False
            listed = True
    return listed


def _wildcard(pattern, name):
    """Whether a pattern ("*" any text, "?" one character) is `name`, in a time that grows with both only: a
    file has 100,000 of them."""
    head, *pieces = pattern.split("*")
    if not pieces:
        return _is_piece(head, name)
    start, end = len(head), len(name) - len(pieces[-1])
    if end < start or not (_is_piece(head, name[:start]) and _is_piece(pieces[-1], name[end:])):
        return False
    for piece in pieces[:-1]:
        ends = (index + len(piece) for index in range(start, end - len(piece) + 1)
                if _is_piece(piece, name[index:index + len(piece)]))
        start = next(ends, -1)
        if start < 0:
            return False
    return True


def _is_piece(piece, text):
    return (piece == text or len(piece) == len(text) and "?" in piece
            and all(sign in ("?", char) for sign, char in zip(piece, text)))


def _hashed(names, name):
    """Whether the hashed names of a line are those of `name` (bytes)."""
    try:
        _, _, salt, digest = names.split("|")
        return hmac.compare_digest(hmac.digest(binascii.a2b_base64(salt), name, "sha1"),
                                   binascii.a2b_base64(digest))
    except (binascii.Error, ValueError):
        return False        # a torn line knows no host


def judge(lines, key_type, blob):
    """Return the Verdict on a host's plain key by the lines about it. A revoked key is revoked even where
    another line knows it."""
    if any(line.marker == "@revoked" and line.blob == blob for line in lines):
        return Verdict("revoked", [])
    plain = [line for line in lines if not line.marker]
    if any(line.blob == blob for line in plain):
        return Verdict("known", plain)
    return Verdict("changed" if any(line.key_type == key_type for line in plain) else "unknown", plain)


def is_revoked(path, key_type, blob):
    """Whether the file `path` that RevokedHostKeys names holds a key: public keys, one a line, or a KRL,
    which ssh-keygen reads.

    Raises HostKeyError where it can't be read: ssh trusts no key then."""
    try:
        data = b"" if os.fspath(path) == os.devnull else layout.read_regular(path)
        if data.startswith(KRL):
            return _is_in_krl(path, key_type, blob)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = f"no end within {KRL_SECONDS} s" if isinstance(error, subprocess.TimeoutExpired) else error
        raise HostKeyError(f"RevokedHostKeys {path} can't be read ({why}), and no host key is trusted "
                           f"without it: mend the file, or "
                           "~/.ssh/config") from error
    revoked = re.finditer(rb"^[ \t]*[\w@.-]+[ \t]+([\w+/=]+)", data, re.MULTILINE)
    return base64.b64encode(blob) in {match[1] for match in revoked}


def _is_in_krl(path, key_type, blob):
    """Whether the KRL `path` revokes a key, as ssh-keygen tells. Raises OSError, TimeoutExpired, and
    ValueError in its words."""
    import tempfile
    # ssh-keygen opens what it reads by name, and Windows has no /dev/stdin
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key.pub"
        key.write_bytes(f"{key_type} {base64.b64encode(blob).decode()}\n".encode())
        process = subprocess.run(["ssh-keygen", "-Q", "-f", path, key], stdin=subprocess.DEVNULL,
                                 capture_output=True, timeout=KRL_SECONDS)
    if process.returncode not in (0, REVOKED):
        raise ValueError(process.stderr.decode("utf-8", "replace").strip()
                         or f"ssh-keygen ended with {process.returncode}")
    return process.returncode == REVOKED


def known_types(lines):
    """Return the key types that the lines about a host know, to be offered first: else a server with two keys
    could look changed."""
    return [line.key_type for line in lines if not line.marker]


def authorities(lines):
    """Return the blobs of the certificate authorities trusted to vouch for a host by the lines about it,
    revoked ones left out."""
    revoked = {line.blob for line in lines if line.marker == "@revoked"}
    return [line.blob for line in lines if line.marker == "@cert-authority" and line.blob not in revoked]


def add(path, name, key_type, blob):
    """Append a host's key to the known_hosts file `path` (made with mode 0600 if absent). Raises OSError."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    line = f"{name} {key_type} {base64.b64encode(blob).decode()}\n".encode()
    descriptor = layout.open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        torn = size and file.read(1) != b"\n"
        file.write(b"\n" + line if torn else line)


def fingerprint(blob):
    """Return a key's fingerprint as `ssh-keygen -l` shows it (str): "SHA256:…"."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def comparison(key_type, version):
    """Return the command (str) that shows a key's fingerprint on its server, "" where nobody says where that
    server keeps its keys.

    version: how the server calls itself in the SSH handshake ("SSH-2.0-OpenSSH_9.2p1 Debian-2")."""
    kind = next((name for name in ("ed25519", "ecdsa", "dss") if name in key_type), "rsa")
    if "dropbear" in version.lower():
        return f"dropbearkey -y -f /etc/dropbear/dropbear_{kind}_host_key"
    if "OpenSSH" not in version:
        return ""
    folder = "%PROGRAMDATA%\\ssh\\" if "for_Windows" in version else "/etc/ssh/"
    return f"ssh-keygen -lf {folder}ssh_host_{kind.replace('dss', 'dsa')}_key.pub"


# -- host certificates ---------------------------------------------------------------------------------------

def certificate(blob):
    """Return the Certificate in a host key's blob; `signed` are the bytes its authority signed. Raises
    HostKeyError."""
    try:
        return _certificate(blob)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise HostKeyError("the server's host certificate can't be read") from error


def _certificate(blob):
    key_type, data = _string(blob)
    for _ in range(1 + KEY_STRINGS[key_type.decode().replace(CERTIFIED, "")]):       # the nonce, then the key
        _, data = _string(data)
    _, kind = struct.unpack(">QI", data[:12])
    _, data = _string(data[12:])                                                    # the key id, for people
    principals, data = _string(data)
    after, before = struct.unpack(">QQ", data[:16])
    critical, data = _string(data[16:])
    for _ in ("extensions", "reserved"):
        _, data = _string(data)
    authority, data = _string(data)
    signed = blob[:len(blob) - len(data)]
    signature, _ = _string(data)
    return Certificate(kind, _strings(principals), after, before, critical, authority, signature, signed)


def _string(data):
    length, = struct.unpack(">I", data[:4])
    if len(data) < 4 + length:
        raise ValueError("cut short")
    return data[4:4 + length], data[4 + length:]


def _strings(data):
    strings = []
    while data:
        string, data = _string(data)
        strings.append(string.decode())
    return strings


def refusal(certificate, host, trusted, now):
    """Return why the Certificate `certificate` does not vouch for `host` (str), or None when it does, its
    signature apart.

    trusted: the blobs authorities() gave. now: Unix seconds.
    """
    if certificate.authority not in trusted:
        return "it is signed by an authority that known_hosts does not trust for this host"
    if certificate.kind != HOST_CERTIFICATE:
        return "it is no host certificate"
    if certificate.critical:
        return "it has a critical option, which OpenSSH allows in no host certificate"
    if not certificate.after <= now < certificate.before:
        return "it is not valid now"
    # No patterns, as ssh has it
    if certificate.principals and host.lower() not in certificate.principals:
        return f"it is made for {', '.join(certificate.principals)}"
    return None
