"""Ask python3 on the server what changed in the whole root: our manifest module runs there from a pipe and
leaves nothing behind."""

import ast
import functools
import importlib
import json
import re
import threading
import time
import zlib

from runicorn import manifest, shares
from runicorn.errors import SftpError
from runicorn.mirror import manifest_stream, server_answer
from runicorn.ssh import remote_shell

TIMEOUT = 120.0                 # s
NEVER = 1e15                    # s; nothing changes after that
SHARE = 30                      # a look that took the server t s is not repeated before SHARE * t


class ExecLook:
    """The looks of one session by python3 on the server, each in a thread of its own; all methods but `ask`
    belong to the session's thread.

    `stamps` is {run path: stamp} as of the last answer; `began` when the last look began, `next` when the
    next one may (s).
    """

    def __init__(self, remote, root, since=None):
        """root: absolute. since: what the server's clock showed at the last look of an earlier session (Unix
        s), None when nobody knows."""
        self._remote, self._root, self._since = remote, root, since
        self.stamps = None
        self.began, self.next = None, 0.0
        self._header = None             # of the last answer
        self._thread = self._answer = self._error = None
        self._turn = threading.Lock()   # a server may grant one command at a time

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
        """Return what the server's clock showed as the last answer was made (Unix s), None before there was
        one."""
        return self._header["generated_at"] if self._header else self._since

    def know(self, lines):
        """Take up {run path: its line} of our index, of use before the first look only."""
        if self.stamps is None:
            heads = ((path, manifest.HEAD.match(line)) for path, line in lines.items())
            self.stamps = {path: head[6].decode() for path, head in heads if head and head[6]}

    def start(self, lines, now):
        """Begin a look unless one is under way. lines: as for `know`."""
        if self._thread is not None:
            return
        self.know(lines)
        self.began, self._answer, self._error = now, None, None
        self._thread = threading.Thread(target=self._run, name="exec", daemon=True)
        self._thread.start()

    def leave(self, seconds):
        """Have the next look begin no sooner than so many seconds after the last one began."""
        self.next = self.began + seconds

    def wait(self, seconds):
        """Wait for the answer, `seconds` at most; returns whether it is here."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def take(self, interval):
        """Return (Manifest of the runs that differ from what was asked with, set of run paths that are not
        there so any more).

        Waits for the answer. The next look may begin `interval` s after this one began, or later where it
        took the server long. Raises SftpError, ManifestError, LineError, ProtocolError.
        """
        self._thread.join()
        self._thread = None
        self.next = self.began + interval
        if self._error is not None:
            self._header = None
            raise self._error
        changed, absent, self._header, self.stamps, seconds = self._answer
        self.next = self.began + max(interval, SHARE * seconds)
        return changed, absent

    def _run(self):
        began = time.monotonic()
        try:
            stamps = dict(self.stamps)
            changed, absent, header = self._ask(stamps)
            took = header.get("took")
            waited = time.monotonic() - began
            took = min(waited, took) if manifest.is_number(took) and took >= 0 else waited
            self._answer = changed, absent, header, stamps, took
        except Exception as error:      # for whoever takes the answer
            self._error = error

    def _ask(self, stamps):
        """Ask, and bring `stamps` in line with the answer. With one stamp of all first: where only files
        changed meanwhile, that is all it takes; where runs came or went unseen, the stamps don't come to the
        server's, and all are sent."""
        if stamps:
            question = {"stamp": self._header["stamp"] if self._header else _stamp_of(stamps),
                     "since": NEVER if self.server_time is None else self.server_time - manifest.SETTLED}
            changed, header = self._question(question, b"")
            if changed is None:
                return None, set(), header
            fresh = dict(stamps)
            if self._taken(fresh, changed) == header["stamp"]:
                stamps.update(fresh)
                return changed, set(), header
        paths = sorted(stamps)
        keys = b"".join([server_answer.key(path, stamps[path]) for path in paths])
        changed, header = self._question({}, keys)
        listed = header.get("absent")
        places = ([index for index in listed if type(index) is int and 0 <= index < len(paths)]
                  if isinstance(listed, list) else ())
        absent = {paths[index] for index in places}
        for path in absent:
            del stamps[path]
        if changed is not None:
            self._taken(stamps, changed)
            absent -= changed.lines.keys()
        return changed, absent, header

    def _taken(self, stamps, changed):
        heads = ((path, manifest.HEAD.match(line)) for path, line in changed.lines.items())
        stamps.update((path, head[6].decode()) for path, head in heads if head and head[6])
        return _stamp_of(stamps)

    def ask(self, source, question):
        """Return what the Python program `source` (str) prints there about the root for `question` (bytes) on
        its standard input. Raises as remote_shell.python does. From any thread: one after the other."""
        with self._turn:
            return remote_shell.python(self._remote, source, [self._root], question, TIMEOUT)[1]

    def _question(self, fields, keys):
        """Return (Manifest or None when nothing changed, header). Raises SftpError when the server won't,
        ManifestError."""
        question = json.dumps(fields).encode() + b"\n" + keys
        out = self.ask(program(), question)
        if out[:5] not in (b"uncha", b"delta"):
            raise SftpError("python3 on the server answered something else", 4)
        if out[:9] == b"unchanged":
            return None, _header(out[9:])
        changed = manifest_stream.read([memoryview(out)[5:]], "the server's answer", zlib.decompressobj())
        return changed, _header(json.dumps(changed.header))


def _stamp_of(stamps):
    return manifest.digest((path, stamps[path].encode()) for path in sorted(stamps))


@functools.lru_cache(1)
def program():
    """Return the Python program (str) that answers on the server: what `server_answer.reply` needs, of
    `manifest` too. It is sent with each look.

    SFTP's paths are bytes, shown here as UTF-8 has them; python3 there may take them for ASCII (3.6 in the C
    locale) or for GBK.
    """
    return answering(manifest, shares, server_answer)


def answering(*modules):
    """Return the Python program (str) that calls the function `reply` of the last of some modules of ours,
    which imports from the others, with the root. What they import of other modules of ours travels, too, each
    in a namespace of its own."""
    text, own = "", tuple(f"from {module.__name__} import " for module in modules)
    for module in modules:
        present = {line for line in text.split("\n") if line.startswith(("import ", "from "))}
        lines = module.__loader__.get_source(module.__name__).split("\n")
        text += ("\n".join(line for line in lines
                           if line not in present and not line.startswith(own))
                 + "\n")
    text = _carried(text, "reply")
    return f"{text}\nimport sys\nreply(os.fsdecode(sys.argv[1].encode('utf-8', 'surrogateescape')))\n"


def _carried(text, *names):
    """Return what the functions, classes and constants `names` need of the Python module `text`, and of those
    that it imports from."""
    def inlined(match):
        source = importlib.import_module(match[1]).__loader__.get_source(match[1])
        imported = match[2].split(", ")
        return "\n".join(["scope = {}", f"exec({ascii(_carried(source, *imported))}, scope)",
                          *(f"{name} = scope['{name}']" for name in imported)])
    return re.sub(r"(?m)^from (runicorn\.\w+) import ([\w, ]+)$", inlined, excerpt(text, *names))


def excerpt(text, *names):
    """Return what the functions, classes and constants `names` need of the Python module `text` (str),
    without the comments and docstrings."""
    tree, lines = ast.parse(text), text.split("\n")
    makers = {bound: node for node in tree.body for bound in _bound(node)}
    needed, waiting = set(), [makers[name] for name in names]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [makers[child.id] for child in ast.walk(node)
                        if isinstance(child, ast.Name) and child.id in makers]
    numbers = {number for node in needed for number in range(node.lineno, node.end_lineno + 1)}
    for node in needed:
        for child in ast.walk(node):
            if (isinstance(child, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(child) is not None
                    and len(child.body) > 1):
                numbers.difference_update(range(child.body[0].lineno, child.body[0].end_lineno + 1))
    return re.sub(r"(?m)(?:^|  +)# .*$|\n(?=\n)", "",
                  "\n".join(lines[number - 1] for number in sorted(numbers)))


def _bound(node):
    """Return the names (list of str) that a statement of a module binds."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    return [child.id for child in ast.walk(node)
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)]


def _header(text):
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if (not isinstance(header, dict) or not isinstance(header.get("stamp"), str)
            or not manifest.is_number(header.get("generated_at"))):
        raise manifest.ManifestError("the server's answer is not a manifest")
    return header
