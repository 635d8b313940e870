"""The line between `runicorn run` and what it started: a socket in a folder that only this user can enter,
named in the environment.

One JSON object a line: a question, and its answer. What may be asked stands at
`program_run.ProgramRun.answer`. Nobody waits for long.
"""

import json
import os
import re
import time

from runicorn import disk

LINK = "RUNICORN_RUN_LINK"      # the socket's path, for all that the program starts on this machine
# "2/4": of a task whose launcher tells its number, but not that the tasks are one training
RANK = "RUNICORN_RUN_RANK"
# What the command line said, for tasks that are not recorded there
PROJECT, NAME = "RUNICORN_RUN_PROJECT", "RUNICORN_RUN_NAME"
ANSWER_SECONDS = 3.0            # a question waits this long for its answer
QUESTION_SECONDS = 0.5          # and whoever answers, for the question
LIMIT = 1 << 20                 # bytes of either
DEAD_SECONDS = 60.0             # a folder younger than this may be one that is being made
PATH_LIMIT = 100                # bytes of a socket's path, unix(7)


def ask(question, wait=True):
    """Return the answer (dict) of the `runicorn run` that this process stems from; None where there is none,
    or it does not answer.

    question: dict. wait: whether there is an answer to wait for.
    """
    path = os.environ.get(LINK)
    if not path:
        return None
    try:
        socket = _socket()
        try:
            socket.settimeout(ANSWER_SECONDS)
            socket.connect(path)
            socket.sendall(json.dumps(question).encode() + b"\n")
            return json.loads(_line(socket)) if wait else {}
        finally:
            socket.close()
    except (AttributeError, OSError, ValueError):
        return None                 # it is gone, or this is another machine


def _socket():
    import _socket as sockets  # not `socket`, which makes enums first
    return sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)


def _line(socket):
    data = b""
    while not data.endswith(b"\n") and len(data) < LIMIT:
        block = socket.recv(1 << 16)
        if not block:
            break
        data += block
    return data


class Link:
    """The side of `runicorn run`. `path`: of the socket, for the environment."""

    def __init__(self, answer):
        """answer: function(question: dict) returning the answer (dict). Raises OSError where there can be no
        socket."""
        self._answer = answer
        self.folder = self._make_folder()
        self.path = os.path.join(self.folder, "link")
        try:
            self._listener = _socket()
            self._listener.bind(self.path)
            self._listener.listen(64)
            self._listener.setblocking(False)
        except BaseException:
            disk.discard_folder(self.folder)
            raise

    @staticmethod
    def _make_folder():
        for above in (os.environ.get("TMPDIR"), "/tmp"):
            folder = os.path.join(above or "/tmp", f"runicorn-{os.getpid()}-{os.urandom(6).hex()}")
            if len(os.fsencode(folder)) < PATH_LIMIT:
                try:
                    os.mkdir(folder, 0o700)
                    return folder
                except OSError:
                    if above == "/tmp":
                        raise
        raise OSError("no folder for a socket")

    def fileno(self):
        return self._listener.fileno()

    def serve(self):
        """Answer all who ask now."""
        import _socket as sockets
        while True:
            try:
                number = self._listener._accept()[0]
            except OSError:
                return              # nobody, or who asked has gone
            peer = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, number)
            try:
                peer.settimeout(QUESTION_SECONDS)
                question = json.loads(_line(peer))
                if isinstance(question, dict):
                    peer.sendall(json.dumps(self._answer(question)).encode() + b"\n")
            except (OSError, ValueError):
                pass
            finally:
                peer.close()

    def close(self):
        """Nobody can ask any more."""
        self._listener.close()
        disk.discard_tree(self.folder)


def clear_dead(above):
    """Remove the folders of Links of ours in `above` (str) that nobody serves: their `runicorn run` was
    killed with all its group."""
    try:
        names = [name for name in os.listdir(above) if re.fullmatch(r"runicorn-\d+-[0-9a-f]{12}", name)]
    except OSError:
        return
    for folder in (os.path.join(above, name) for name in names):
        try:
            status = os.lstat(folder)
            if (status.st_uid == os.getuid() and time.time() - status.st_mtime > DEAD_SECONDS
                    and not _is_served(folder)):
                disk.discard_tree(folder)
        except OSError:
            pass                    # gone meanwhile


def _is_served(folder):
    socket = _socket()
    try:
        socket.settimeout(ANSWER_SECONDS)
        socket.connect(os.path.join(folder, "link"))
        return True
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    finally:
        socket.close()
