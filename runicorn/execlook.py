"""Ask python3 on the server what changed in the whole root: our manifest module runs there from a pipe and leaves nothing behind."""

import json
import re
import threading
import time
import zlib

from runicorn import manifest, remote_shell
from runicorn.errors import SftpError

TIMEOUT = 120.0                 # s
SHARE = 30                      # a look that took the server t s is not repeated before SHARE * t


class ExecLook:
    """The looks of one session by python3 on the server, each in a thread of its own; all methods belong to the session's thread.

    `stamps` is {run path: stamp} as of the last answer; `began` when the last look began, `next` when the next one may (s).
    """

    def __init__(self, remote, root):
        self._remote, self._root = remote, root
        self.stamps = None
        self.began, self.next = None, 0.0
        self._header = None             # of the last answer
        self._thread = self._answer = self._error = None

    @property
    def busy(self):
        """Whether a look is under way (bool)."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def started(self):
        """Whether a look's answer was not taken yet (bool)."""
        return self._thread is not None

    @property
    def server_time(self):
        """Return what the server's clock showed as the last answer was made (Unix s)."""
        return self._header["generated_at"]

    def start(self, lines, now):
        """Begin a look unless one is under way. lines: {run path: its line} of our index, of use the first time."""
        if self._thread is not None:
            return
        if self.stamps is None:
            heads = ((path, manifest.HEAD.match(line)) for path, line in lines.items())
            self.stamps = {path: head[6].decode() for path, head in heads if head and head[6]}
        self.began, self._answer, self._error = now, None, None
        self._thread = threading.Thread(target=self._run, name="exec", daemon=True)
        self._thread.start()

    def wait(self, seconds):
        """Wait for the answer, `seconds` at most; returns whether it is here."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def take(self, interval):
        """Return (Manifest of the runs that differ from what was asked with, set of run paths that are not there so any more).

        Waits for the answer. The next look may begin `interval` s after this one began, or later where it took the server long.
        Raises SftpError, ManifestError, LineError, ProtocolError.
        """
        self._thread.join()
        self._thread = None
        self.next = self.began + interval
        if self._error is not None:
            self._header = None
            raise self._error
        found, absent, self._header, self.stamps, seconds = self._answer
        self.next = self.began + max(interval, SHARE * seconds)
        return found, absent

    def _run(self):
        began = time.monotonic()
        try:
            stamps = dict(self.stamps)
            found, absent, header = self._ask(stamps)
            took = header.get("took")
            waited = time.monotonic() - began
            took = min(waited, took) if isinstance(took, (int, float)) and took >= 0 else waited
            self._answer = found, absent, header, stamps, took
        except Exception as error:      # for whoever takes the answer
            self._error = error

    def _ask(self, stamps):
        """Ask, and bring `stamps` in line with the answer. With the last answer's stamp first: where only files changed meanwhile,
        that is all it takes; where runs came or went unseen, the stamps don't come to the server's, and all are sent."""
        if self._header:
            asked = {"stamp": self._header["stamp"], "since": self._header["generated_at"] - manifest.SETTLED}
            found, header = self._question(asked, b"")
            if found is None or self._taken(stamps, found) == header["stamp"]:
                return found, set(), header
        paths = sorted(stamps)
        keys = b"".join([manifest.key(path, stamps[path]) for path in paths])
        found, header = self._question({}, keys)
        places = [place for place in header.get("absent") or () if type(place) is int and 0 <= place < len(paths)]
        absent = {paths[place] for place in places}
        for path in absent:
            del stamps[path]
        if found is not None:
            self._taken(stamps, found)
            absent -= found.lines.keys()
        return found, absent, header

    def _taken(self, stamps, found):
        heads = ((path, manifest.HEAD.match(line)) for path, line in found.lines.items())
        stamps.update((path, head[6].decode()) for path, head in heads if head and head[6])
        return manifest.digest((path, stamps[path].encode()) for path in sorted(stamps))

    def _question(self, asked, keys):
        """Return (Manifest or None when nothing changed, header). Raises SftpError when the server won't, ManifestError."""
        question = json.dumps(asked).encode() + b"\n" + keys
        _, out = remote_shell.python(self._remote, source(), ["--root", self._root, "--answer"], question, TIMEOUT)
        if out[:5] not in (b"uncha", b"delta"):
            raise SftpError("python3 on the server answered something else", 4)
        if out[:9] == b"unchanged":
            return None, _header(out[9:])
        try:
            text = zlib.decompressobj().decompress(out[5:], manifest.LIMIT)
        except zlib.error as error:
            raise manifest.ManifestError("the server's answer is not a manifest") from error
        found = manifest.parse(text, "the server's answer")
        return found, _header(json.dumps(found.header))


def source():
    """Return our manifest module's source (str) without comments and docstrings, which nobody reads there: it is sent with each look."""
    text = re.sub(r"(?m)(?:^|  +)# .*$", "", manifest.__loader__.get_source("runicorn.manifest"))
    return re.sub(r'(?ms)^ *""".*?"""\n', "", text)


def _header(text):
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not isinstance(header.get("stamp"), str) or not isinstance(header.get("generated_at"), (int, float)):
        raise manifest.ManifestError("the server's answer is not a manifest")
    return header
