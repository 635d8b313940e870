"""Compare whole files of the mirror with the server's, for what size and tail can't show. Reads both sides,
changes neither."""

from __future__ import annotations

import collections
import hashlib
import json
import threading
from typing import TYPE_CHECKING

from runicorn import faults
from runicorn.errors import HandlesError, RunicornError, SftpError
from runicorn.mirror import plan
from runicorn.ssh import remote_shell, sftp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from logging import Logger

    from runicorn.mirror.fetch_queue import FetchQueue
    from runicorn.mirror.local_copy import LocalCopy
    from runicorn.mirror.remote_index import Key
    from runicorn.mirror.seams import Client, Remote

MONTH = 4320                    # audits in a month: each compares its share of the ended runs' files whole
GROUP = 100                     # files read at once
BLOCK = 1 << 20
SOURCE = """
import hashlib, json, os, stat, sys
for path, size in json.loads(sys.argv[1]):
    hashed, left = hashlib.sha256(), size
    path = path.encode("utf-8", "surrogateescape")
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError
        with open(path, "rb") as file:
            while left > 0:
                block = file.read(min(left, 1 << 20))
                if not block:
                    break
                hashed.update(block)
                left -= len(block)
        print(hashed.hexdigest() if not left else "short")
    except OSError:
        print("unreadable")
"""


class WholeFiles:
    """Compares a session's files whole and has those fetched again that differ; all methods belong to the
    session's thread."""

    def __init__(self, client: Client, remote: Remote, mirror: LocalCopy, root: str, queue: FetchQueue,
                 log: Logger) -> None:
        self._client, self._remote, self._mirror = client, remote, mirror
        self._root, self._queue, self._log = root, queue, log
        self._turn = 0                  # place of the next ended run to compare
        self._hashing = None            # (Hashing, what it compares)

    @property
    def busy(self) -> bool:
        """Whether the server is hashing files of which only the mtime moved (bool)."""
        return self._hashing is not None and self._hashing[0].busy

    def settle_suspects(self, can_hash, now):
        """Have the server hash the files of which only the mtime moved, beside everything else, and take what
        it said.

        can_hash: whether python3 answers there. Returns whether some are waited for.
        """
        self._queue.copies.hash_suspects(can_hash)
        if self._hashing and not self.busy:
            hashing, suspects = self._hashing
            self._hashing = None
            self._queue.judged(suspects, hashing.wrong, now)
        if self._queue.copies.suspects and not self._hashing:
            suspects = dict(self._queue.copies.suspects)
            self._hashing = (Hashing(self._remote, self._mirror, self._root, list(suspects), self._log),
                             suspects)
        return bool(self._hashing)

    def compare(self, paths, now):
        """Compare all we hold of the runs `paths` and queue what differs; returns {"files": compared,
        "refetched": n}.

        What can't be read there is no more than asked for once more, so that who looks is told why it does
        not come.
        """
        index = self._queue.index
        copies = [(path, name) for path in paths
                  for name in index.entry(path)["files"]
                  if index.believes(path, name) and self._queue.copies.is_settled((path, name))
                  and self._mirror.stat(path, name)]
        wrong, unread = (differing(self._client, self._remote, self._mirror, self._root, copies, self._log)
                         if copies else ([], []))
        for path, name in wrong:
            self._log.warning("%s/%s was not what the server has; fetched again", path, name)
        self._queue.fetch_whole(wrong + unread, now)
        return {"files": len(copies) - len(unread), "refetched": len(wrong)}

    def compare_share(self, paths: Iterable[str], now: float) -> None:
        """Compare so many of the runs among `paths` that ended, or that other loggers write no more, that a
        month compares all."""
        index, alive = self._queue.index, set(self._queue.beats.alive(self._queue.index.foreign, now))
        ended = sorted(path for path in paths
                       if index.ended(path) or path in index.foreign and path not in alive)
        if ended:
            start = self._turn = self._turn % len(ended)
            self._turn += len(ended) // MONTH + 1
            self.compare(ended[start:self._turn], now)


def differing(client, remote, mirror, root, files, log):
    """Return those of `files`, a list of (run path, name), whose first bytes on the server are not what we
    hold, and those that can't be read there (two lists).

    By sha256 through exec where that works, else by reading them again. Raises LineError, ProtocolError.
    """
    files = [key for key in files if mirror.stat(*key)]
    if remote.exec_allowed is not False:
        try:
            return _by_exec(remote, mirror, root, files)
        except SftpError as error:
            log.info("no sha256 by python3 on the server: %s", error)
    wrong, unread, waiting = [], [], collections.deque(files)
    while waiting:
        group = [waiting.popleft() for _ in range(min(len(waiting), GROUP, max(1, client.lasting)))]
        differ, closed, later = _by_reading(client, mirror, root, group)
        wrong += differ
        unread += closed
        if later == group:
            raise SftpError(f"{root}: the server lets no file be open beside those that are", 4)
        waiting.extend(later)
    return wrong, unread


class Hashing:
    """Compares `files` (see `differing`) by sha256 through exec, in a thread of its own; `wrong` (set) once
    it is not `busy`.

    Those that the server doesn't tell are, too.
    """

    def __init__(self, remote: Remote, mirror: LocalCopy, root: str, files: list[Key],
                 log: Logger) -> None:
        self.wrong = set(files)
        self._thread = threading.Thread(target=self._run, args=(remote, mirror, root, files, log),
                                        name="sha256", daemon=True)
        self._thread.start()

    @property
    def busy(self):
        return self._thread.is_alive()

    def _run(self, remote, mirror, root, files, log):
        try:
            wrong, unread = _by_exec(remote, mirror, root, files)
            self.wrong = {*wrong, *unread}
        except RunicornError as error:      # a line that broke shows at its next use, too
            log.info("no sha256 by python3 on the server: %s", error)
        except Exception as error:
            faults.tell(log, error, "comparing by sha256")


def _by_exec(remote, mirror, root, files):
    # One that was removed meanwhile has no bytes, which the server's are not
    sizes = [(mirror.stat(*key) or {"size": 1})["size"] for key in files]
    text = json.dumps([[plan.remote_path(root, *key), size] for key, size in zip(files, sizes)])
    _, out = remote_shell.python(remote, SOURCE, [text], timeout=3600)
    digests = out.decode("ascii", "replace").split()
    if len(digests) != len(files):
        raise SftpError(f"python3 answered for {len(digests)} of {len(files)} files", 4)
    wrong = [key for key, size, theirs in zip(files, sizes, digests)
             if theirs != "unreadable" and theirs != _hash(mirror, key, size)]
    return wrong, [key for key, theirs in zip(files, digests) if theirs == "unreadable"]


def _hash(mirror, key, size):
    hashed, offset = hashlib.sha256(), 0
    while offset < size:
        block = mirror.read(*key, offset, min(BLOCK, size - offset))
        if not block:
            break
        hashed.update(block)
        offset += len(block)
    return hashed.hexdigest()


def _by_reading(client, mirror, root, files):
    """Return those of `files` that differ, those that can't be read, and those that the server did not let be
    open beside the others (three lists)."""
    places = [plan.remote_path(root, *key) for key in files]
    stats = client.batch([sftp.lstat(remote_path) for remote_path in places])
    unread = [key for key, remote_path, attrs in zip(files, places, stats)
              if sftp.refusal(remote_path, attrs)]
    files = [key for key in files if key not in unread]
    handles = client.batch([sftp.open_file(plan.remote_path(root, *key)) for key in files])
    opened = {key: handle for key, handle in zip(files, handles) if not isinstance(handle, SftpError)}
    later = [key for key, handle in zip(files, handles) if isinstance(handle, HandlesError)]
    unread += [key for key in files if key not in opened and key not in later]
    wrong, offsets = [], dict.fromkeys(opened, 0)
    while offsets:
        keys = list(offsets)
        answers = client.batch([sftp.read(opened[key], offsets[key], client.max_read) for key in keys])
        for key, data in zip(keys, answers):
            copy = mirror.read(*key, offsets[key], len(data) if isinstance(data, bytes) and data else 1)
            if isinstance(data, SftpError) or data[:len(copy)] != copy or len(data) < len(copy):
                wrong.append(key)
                del offsets[key]
            elif not copy or offsets[key] + len(copy) >= (mirror.stat(*key) or {"size": 0})["size"]:
                del offsets[key]
            else:
                offsets[key] += len(copy)
    client.batch([sftp.close(handle) for handle in opened.values()])
    return wrong, unread, later
