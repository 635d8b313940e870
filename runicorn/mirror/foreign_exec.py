"""Ask python3 on the server for the runs of other loggers in all of a large root: our table of kinds runs
there from a pipe."""

import functools
import json
import threading
import zlib

from runicorn import foreign, left_out, manifest
from runicorn.errors import SftpError
from runicorn.mirror import exec_look, plan

LIMIT = 16 << 20                # bytes of an answer, unpacked; 20,000 runs take 4 MB
SHARE = 30                      # a look that took the server t s is not repeated before SHARE * t


class Answer:
    """What the server told: `runs` [foreign.Run, …], `mtimes` {run path: mtime of its folder, s}, `skipped`
    {reason: count}, `rest`: s until it should be asked again at the earliest."""

    def __init__(self, answer, rules=None):
        """answer: what it printed (bytes); rules: foreign_rules.Rules that it was asked with. Raises
        SftpError for what no program of ours prints."""
        unpacker = zlib.decompressobj()
        try:
            reply = json.loads(unpacker.decompress(answer[6:], LIMIT)) if answer[:6] == b"others" else None
        except (zlib.error, ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict) or not isinstance(reply.get("runs"), list) or not unpacker.eof:
            raise SftpError("python3 on the server answered something else", 4)
        self.runs, self.mtimes = [], {}
        for item in reply["runs"]:
            if _is_run(item):
                path, kinds, mtime, files = item
                self.mtimes[path] = mtime
                self.runs.append(foreign.Run(path, "", tuple(kind for kind in foreign.KINDS if kind in kinds),
                                             [(name, size, changed, 0, 0)
                                              for name, size, changed in files
                                              if plan.believable(path, name, kinds, rules)]))
        self.skipped, self.states = left_out.checked(reply.get("skipped")), reply.get("known")
        took = reply.get("took")
        self.rest = SHARE * min(took, exec_look.TIMEOUT) if manifest.is_number(took) and took > 0 else 0.0


def _is_run(item):
    if not (isinstance(item, list) and len(item) == 4 and isinstance(item[0], str)
            and isinstance(item[1], list) and _is_time(item[2])):
        return False
    path, kinds, _, files = item
    return (bool(kinds) and all(kind in foreign.KINDS for kind in kinds)
            and plan.believable(path, kinds=kinds) and isinstance(files, list) and all(map(_is_file, files)))


def _is_file(item):
    return (isinstance(item, list) and len(item) == 3 and isinstance(item[0], str) and _is_time(item[2])
            and type(item[1]) is int and 0 <= item[1] < 1 << 60)


def _is_time(value):
    return type(value) is int and manifest.is_number(value)


class ForeignExec:
    """The looks of one session, each in a thread of its own; all methods belong to the session's thread."""

    def __init__(self, ask, rules):
        """ask(source, question): exec_look.ExecLook.ask; rules: foreign_rules.Rules."""
        self._ask, self._rules, self._thread, self._outcome = ask, rules, None, []
        self._states = {}                # what was told of text files, as foreign.find has `known`
        self.changed = False            # since `told`

    @property
    def started(self):
        """Whether a look's answer was not taken yet (bool)."""
        return self._thread is not None

    def start(self, ours):
        """Begin a look. ours: as foreign.find has it."""
        fields = {"ours": sorted(ours), "known": self._states, "rules": self._rules.rules}
        question = zlib.compress(json.dumps(fields).encode("utf-8", "surrogatepass"))
        self._outcome = []
        self._thread = threading.Thread(target=self._run, args=(question, self._rules, self._outcome),
                                        name="exec", daemon=True)
        self._thread.start()

    def follow_rules(self, rules):
        """Take over other Rules, and no answer that is by those before."""
        self._rules, self._states, self._thread = rules, {}, None

    def _run(self, question, rules, outcome):
        try:
            outcome.append(Answer(self._ask(program(), question), rules))
        except Exception as error:      # for whoever takes it
            outcome.append(error)

    def take(self):
        """Return the Answer that came, None while it has not. Raises what kept it from coming: SftpError,
        LineError, ProtocolError."""
        if self._thread.is_alive():
            return None
        self._thread = None
        answer, = self._outcome
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer.states, dict) and len(answer.states) <= foreign.READ:
            self.changed = self.changed or answer.states != self._states
            self._states = answer.states
        return answer

    def told(self):
        """Return what is known of text files (dict), for whoever shows them."""
        self.changed = False
        return self._states


@functools.lru_cache(1)
def program():
    """Return the Python program (str) that answers on the server."""
    return exec_look.answering(foreign)
