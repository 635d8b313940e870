"""What a connection's row shows: where its sync is and why, when the server was last heard, what its line
carries. Reads live.json, writes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypedDict

from runicorn import layout
from runicorn.mirror.progress import ProgressRow
from runicorn.mirror.traffic import Meter

if TYPE_CHECKING:
    from logging import Logger

    from runicorn.clock import Clock
    from runicorn.mirror.local_copy import LocalCopy
    from runicorn.news import Bell


class Owner(TypedDict):
    """The process that holds a mirror's lock."""

    pid: int | None
    ours: bool


class StateRow(TypedDict, total=False):
    """What a connection's row shows of its sync; times are Unix s. See README, "Connections"."""

    state: str                  # connecting, syncing, live, paused, offline, refused
    reason: dict[str, Any]      # {"code", "text", and what the text is made of}
    since: float
    last_news: float | None
    up_to_date: float | None
    retry_at: float | None
    runs: int
    running: int
    progress: ProgressRow | None
    traffic: dict[str, int]     # {"hour": bytes, "rate": bytes/s, "requests"}
    owner: Owner | None
    source: str | None          # exec, manifest, walk
    rtt_ms: int | None
    manifest_age: int | None    # s


class Status:
    """The state of one sync. Its thread alone changes it (but `set_up_to_date(None)`, which any may call);
    `row` and the attributes may be read from any."""

    def __init__(self, mirror: LocalCopy, clock: Clock, bell: Bell, log: Logger) -> None:
        """mirror: local_copy.LocalCopy; clock: clock.Clock, set to the time of the present pass."""
        self._mirror, self._clock, self._bell, self._log = mirror, clock, bell, log
        self.state, self._since = "connecting", time.time()
        self.reason: dict[str, Any] = {"code": "starting", "text": "starting"}
        self.owner: Owner | None = None             # who holds the mirror's lock
        self.line = {"up": False, "since": time.time()}
        self._retry_at: float | None = None             # when the next try to get a line is, Unix s
        # Unix s at which all that the server has was last known to be here
        self._up_to_date: float | None = None
        self._last_news: float | None = None        # when the server answered last, the clock's time
        self._heard = (0, 0)            # the line's traffic by then
        self._meter = Meter()

    def say(self, state, code, text, **values):
        """Set the state with its reason, log it and ring when it changed."""
        reason = {"code": code, "text": text, **values}
        if (state, reason) == (self.state, self.reason):
            return
        if state != self.state:
            self._since = time.time()
            self._log.info("%s: %s", state, text)
        self.state, self.reason = state, reason
        self._bell.ring("connections")

    def own(self, pid: int | None, ours: bool = True) -> None:
        """The mirror's lock is held by the process `pid`."""
        self.owner = {"pid": pid, "ours": ours}

    @property
    def is_ours(self) -> bool:
        """Whether this process is known to hold the mirror's lock (bool)."""
        return bool(self.owner and self.owner["ours"])

    @property
    def is_anothers(self) -> bool:
        """Whether another process is known to hold it (bool)."""
        return bool(self.owner and not self.owner["ours"])

    def line_began(self, since: float) -> None:
        """A line is up since then (Unix s)."""
        self.line = {"up": True, "since": since}
        self._meter.restart()

    def line_ended(self) -> None:
        """The line is down."""
        self.line = {"up": False, "since": time.time()}

    def retry(self, retry_at: float) -> None:
        """The next try to get a line is then (Unix s)."""
        self._retry_at = retry_at

    def hear(self, traffic: tuple[int, int], now: float) -> None:
        """Take the line's traffic so far, (bytes both ways, requests)."""
        if traffic != self._heard:              # a pass that asked nothing heard nothing
            self._heard, self._last_news = traffic, self._clock.now()
        self._meter.note(now, *traffic)

    def bytes_of_minute(self, now: float) -> int:
        """Return how many bytes the line carried in this minute (int)."""
        return self._meter.this_minute(now)

    def set_up_to_date(self, moment: float | None) -> None:
        """All that the server has was known to be here then (Unix s); None: nobody knows."""
        self._up_to_date = moment

    def row(self, remote_root, index):
        """Return what the connection's row shows (dict; see README, "Connections"). remote_root:
        remote_root.RemoteRoot while a line is up;
        index: remote_index.RemoteIndex once it was read; else None."""
        root = remote_root
        # Whatever the wall clock was set to since
        last_news = None if self._last_news is None else self._clock.wall(self._last_news)
        row = {"state": self.state, "reason": self.reason, "since": self._since, "last_news": last_news,
               "up_to_date": self._up_to_date, "retry_at": self._retry_at if self.state == "offline"
               else None, "runs": len(index.lines) if index else 0,
               "running": len(root.beats.alive(index.foreign, self._clock.now())) if root else 0,
               "progress": root.queue.progress_row() if root else None,
               "traffic": self._meter.told(self._clock.now()), "owner": self.owner,
               "source": root.source if root else None,
               "rtt_ms": round(1000 * root.changes.round_trip) if root and root.changes.round_trip else None,
               "manifest_age": round(self._clock.now() - root.list.manifest_made)
               if root and root.list.manifest_made else None}
        return row if index else self._from_index(row)

    def _from_index(self, row):
        """What another process, or an earlier one, wrote about this mirror."""
        earlier = (layout.read_json(self._mirror.index / layout.INDEX_LIVE) or {}).get("state")
        earlier = earlier if isinstance(earlier, dict) else {}
        if self.is_anothers:
            teller = earlier.get("owner")
            if isinstance(teller, dict) and teller.get("pid") == self.owner["pid"]:
                return {**row, **earlier, "owner": self.owner}
            # Who holds it has said nothing yet, and what an earlier one said is over
            row["state"] = "connecting"
        return {**row, **{key: earlier[key] for key in ("runs", "running", "last_news") if key in earlier}}
