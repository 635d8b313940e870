"""A line's first turns: SFTP begins, the root's absolute path is told, and python3 on the server looks, all
of it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn import manifest
from runicorn.errors import SftpError
from runicorn.mirror.exec_look import ExecLook
from runicorn.mirror.server_runs import is_recent

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.mirror.remote_index import RemoteIndex
    from runicorn.mirror.seams import Options, Remote


class Opening:
    """What is there once SFTP began over a line: `client` (sftp.Sftp) and `root`, the absolute path of the
    remote root (str)."""

    def __init__(self, remote: Remote, options: Options, index: RemoteIndex, earlier: dict[str, Any],
                 now: float, wall: Callable[[float], float]) -> None:
        """Begin SFTP, and have python3 on the server say what differs from `index`
        (remote_index.RemoteIndex), which the mirror most often turns out to have. earlier: what an earlier
        session told (see local_copy.LocalCopy.load_kept); wall: clock.Clock.wall. Raises RemoteError."""
        self._remote, self._index = remote, index
        listed, root = (earlier["list"] if isinstance(earlier.get("list"), dict) else {},
                        options["remote_root"])
        since, refused = (moment if manifest.is_number(moment) else None
                          for moment in map(listed.get, ("server_time", "refused")))
        # Commands need not begin where SFTP does
        folder = root if root.startswith("/") else listed.get("root")
        self._look, lines = ExecLook(remote, folder, since), index.flush().lines
        # As the server's stamp
        self._look.know({path: line for path, line in lines.items() if path not in earlier["gone"]})
        asks = (options.get("manifest", True) and remote.exec_allowed is not False
                and not is_recent(refused, wall(now)))
        ahead = (lambda: self._look.start(lines, now)) if asks and isinstance(folder, str) else None
        below = "." if root == "~" else root[2:] or "." if root.startswith("~/") else root
        self.client = remote.open_sftp(start=below, meanwhile=ahead)
        self.root = self._absolute(below)
        if not ahead or folder not in (root, self.root):
            self._look = ExecLook(remote, self.root, since)

    def _absolute(self, below):
        """Return an absolute path; what is relative, or begins with "~", starts where the session does."""
        if not isinstance(self.client.start, SftpError):
            return self.client.start.rstrip("/")
        # not there yet: the survey says so
        return (below.rstrip("/") if below.startswith("/")
                else f"{self.client.realpath('.').rstrip('/')}/{below.rstrip('/')}")

    def look_for(self, index):
        """Return the look for `index`: the one that began, or another one where the mirror turned out to be a
        new one (ExecLook)."""
        return self._look if index is self._index else ExecLook(self._remote, self.root)
