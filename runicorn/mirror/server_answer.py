"""What a mirror asks of a whole root and is answered: this runs on the server, by its python3, beside what it
needs of `manifest`.

Python 3.6 is enough; see exec_look.program, which puts both together.
"""
import collections
import json
import sys
import time
import zlib
from hashlib import sha256

from runicorn.manifest import FORMAT, Manifest, digest, each, scan, text
from runicorn.shares import shared_out


def key(path, stamp):
    """Return the 6 bytes that stand for a run of this stamp in the question of a mirror."""
    return sha256(("%s\0%s" % (path, stamp)).encode("utf-8", "surrogatepass")).digest()[:6]


def answer(root, hashes=b"", stamp="", since=0.0):
    """Return what a mirror needs to know of the root (bytes): b"unchanged" and a header, or b"delta" and a
    zlib-packed manifest.

    hashes: the keys of all runs the mirror has, one after the other; or stamp and since: those of the last
    answer's header, which is enough where nothing but files changed meanwhile. The header: {"stamp": of all
    runs, "took": s, "generated_at": s, and "absent": [places in `hashes` of runs that are not here so]}. A
    delta has the runs of other stamps, or changed since.
    """
    began, now = time.perf_counter(), time.time()
    absent = {hashes[offset:offset + 6]: offset // 6 for offset in range(0, len(hashes), 6)}
    skipped, lines, stamps = collections.Counter(), {}, []

    def judge(path, look, skipped):
        own = key(path, look.stamp)
        is_asked = own not in absent and (not stamp or look.changed >= since)
        return look.stamp.encode(), own, scan(look, skipped) if is_asked else None

    for path, (own_stamp, own, line) in each(root, skipped, judge, share=shared_out):
        stamps.append((path, own_stamp))
        absent.pop(own, None)
        lines.update({path: line} if line else {})
    present = digest(sorted(stamps))
    header = {"format": FORMAT, "kind": "delta", "digest": present, "stamp": present,
              "generated_at": round(now, 3), "absent": sorted(absent.values()),
              "took": round(time.perf_counter() - began, 3)}
    if stamp == present or hashes and not lines and not absent:
        return b"unchanged" + json.dumps(header).encode()
    return b"delta" + zlib.compress(b"".join(text(Manifest(header, lines))), 1)


def reply(root):
    """Answer the question of a mirror that comes on standard input, a line of JSON, then keys: what is here
    runs alone on the server."""
    request, _, hashes = sys.stdin.buffer.read().partition(b"\n")
    sys.stdout.buffer.write(answer(root, hashes, **json.loads(request.decode())))
