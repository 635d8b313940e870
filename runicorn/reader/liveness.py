"""The state of a run, derived: is it alive? Judged by what was seen to change on our own monotonic clock,
never by comparing our clock with a server's; SFTP can't tell the server's time, and network file systems
serve old attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runicorn.layout import ENDED, number

if TYPE_CHECKING:
    from typing import Any

# s; a change within this is a sign of life (a heart beats every 10 s, attributes may be 60 s old)
ALIVE = 60.0
CHECKING = 90.0     # s; after this without a change a first look ends, and a silent run is called stalled
LOST = 180.0        # s; no change for so long while our line was up
BEAT = 10.0         # s between two beats of a heart
NO_ROWS = 60.0      # s; beats without a row for so long, or 10 median gaps if that is longer
GAPS = 10
# s; another logger's run that did not change for so long, or for 20 median gaps, is quiet: it promised no
# heartbeat
QUIET = 600.0
QUIET_GAPS = 20
SKEW = 93_600.0     # s; no clock and no zone is wrong by more than 26 hours
ENDED_BY = {"init": ("by_init", "ended by the next init()"),
            "exec": ("by_exec", "the process became another program"), "pruning": ("by_pruning", "pruned"),
            "job": ("by_job", "its job of the multirun returned")}
OPEN = ("checking", "running", "stalled", "quiet", "lost")


class Verdict(NamedTuple):
    """A state with its reason. code: a stable word that the pages translate; values: numbers and texts in the
    sentence."""

    state: str
    code: str
    text: str
    values: dict = {}

    @classmethod
    def read(cls, value):
        """Return the Verdict that a viewer told as JSON (a list), or None."""
        try:
            state, code, text, values = value
        except (TypeError, ValueError):
            return None
        sound = state in OPEN and isinstance(code, str) and isinstance(text, str) and isinstance(values, dict)
        return cls(state, code, text, values) if sound else None

    def reason(self) -> dict[str, Any]:
        """Return {"code", "text", …values}."""
        return {"code": self.code, "text": self.text, **self.values}


class Pulse:
    """What was seen of one run that has not ended. All times are seconds of the caller's monotonic clock."""

    __slots__ = ("first_look", "looked", "read", "changed", "grew", "sign", "rows", "cut", "answers_at",
                 "dead")

    def __init__(self):
        self.first_look = self.looked = None     # the first look since our line came up, the last look
        self.read = None                    # the last look at the rows
        self.changed = self.grew = None     # when a look saw a change, and one in the rows
        self.sign = self.rows = None        # what the last look saw
        self.cut = False                    # our line went down after the last look
        self.answers_at = (None, None)           # which answers of the server the last look was at
        self.dead = False                   # the process that wrote it is known to be gone

    def writer_ended(self, dead: bool) -> bool:
        """Take over whether the process that wrote the run is known to be gone (bool); returns whether that
        is news."""
        before, self.dead = self.dead, dead
        return dead and not before

    def resume(self, first_look: float, looked: float, changed: float | None = None,
               grew: Any = None) -> None:
        """Begin with what is known already of the time before the first look, by clocks that agree with ours:
        since when somebody looked, the last look, and when a change was seen in the run and in its rows
        (None: never)."""
        self.first_look, self.looked, self.read, self.changed = first_look, looked, looked, changed
        self.grew = changed if grew is None else grew

    def look(self, now: float, sign: tuple[int | tuple[Any, ...] | None, dict[str, int]],
             rows: tuple[Any, ...], answers_at: tuple[Any, Any] = (None, None),
             changed_at: Any = None) -> bool:
        """Take a look while our line is up. sign: anything that changes when the run lives (beats, sizes);
        rows: what changes when a row is logged; answers_at: numbers of the server's answers that these two
        are (None: every look is a new one).
        changed_at: when the sign changed, where somebody else saw it. Returns whether either changed."""
        resumed = self.first_look is not None and self.sign is None
        moved = (sign, rows) != (self.sign, self.rows) and not resumed
        if self.cut and not moved and self.judge().state == "lost":
            self.cut = False                # it was dead before our line went down, and has not moved since
        fresh = self.first_look is None or self.cut
        if resumed:
            self.sign, self.rows = sign, rows
        new = [fresh or number is None or number != old for number, old in zip(answers_at, self.answers_at)]
        if not moved and not any(new):
            return False                    # the same answers once more say nothing about silence
        self.answers_at = answers_at
        if fresh:
            self.first_look, self.cut, self.changed = now, False, None
            self.grew = now
        elif moved:
            if self.grew is None or rows != self.rows or now - (self.changed or self.first_look) > CHECKING:
                # a run that comes back, or was never seen to move, gets time for its next row
                self.grew = now
            self.changed = now if changed_at is None else min(now, changed_at)
        self.looked = now if moved or new[0] else self.looked
        self.read = now if rows != self.rows or new[1] else self.read
        self.sign, self.rows = sign, rows
        return moved

    def line_down(self) -> None:
        """Our own line is down: what was judged stays as it is until the line is up again."""
        self.cut = True

    def since_row(self, now):
        """Return the seconds since a new row was seen, or None before the second look."""
        return None if self.grew is None else max(0.0, now - self.grew)

    def judge(self, gap: Any = None, patience: float = CHECKING) -> Verdict:
        """Return the Verdict as of the last look. gap: median seconds between the run's rows, if known;
        patience: seconds of looking after which a run that never changed is lost."""
        if self.dead:
            return Verdict("lost", "process_gone",
                           "its process is gone and left no word: it was killed, or the machine restarted")
        if self.first_look is None:
            return Verdict("checking", "first_look", "not looked at yet")
        if self.changed is None:
            return self._unproven(patience)
        silent = self.looked - self.changed
        if silent > LOST:
            return Verdict("lost", "no_sign", f"no sign of life for {_span(silent)}",
                           {"seconds": round(silent)})
        if silent > CHECKING:
            return Verdict("stalled", "quiet", f"no sign of life for {_span(silent)}",
                           {"seconds": round(silent)})
        rowless = self.read - self.grew
        if self.rows and rowless > max(NO_ROWS, GAPS * (gap or 0)):
            return Verdict("stalled", "no_rows", f"alive, but no new row for {_span(rowless)}",
                           {"seconds": round(rowless)})
        sentence = ("it was seen to change within the last minute" if silent <= ALIVE
                    else f"last sign of life {_span(silent)} ago")
        return Verdict("running", "beating", sentence, {"seconds": round(silent)})

    def _unproven(self, patience):
        looked = self.looked - self.first_look
        if looked < patience:
            return Verdict("checking", "first_look", "waiting for a sign of life",
                           {"seconds": round(looked), "limit": round(patience)})
        return Verdict("lost", "never_seen",
                       f"nothing says how it ended, and {_span(looked)} of looking saw no sign of life",
                       {"seconds": round(looked)})


def judge(status: dict[str, Any], pulse: Pulse | None, gap: Any = None,
          patience: float = CHECKING) -> Verdict:
    """Return the Verdict on a run. status: the dict of its status.json, or None; pulse: its Pulse, or None if
    nobody looked; gap,
    patience: see `Pulse.judge`."""
    status = status or {}
    state = status.get("status")
    if state == "finished":
        return Verdict("finished", *ENDED_BY.get(_text(status.get("ended_by")), ("finished", "finished")))
    if state == "failed":
        return _failed(status)
    if state == "interrupted":
        signal = _text(status.get("signal"))
        if signal:
            return Verdict("interrupted", "signal", f"ended by {signal}", {"signal": signal})
        return Verdict("interrupted", "interrupted", "interrupted")
    return (pulse or Pulse()).judge(gap, patience)


def judge_foreign(pulse, gap=None, age=None):
    """Return the Verdict on another logger's run that does not say how it ended: running while its files are
    seen to grow, else quiet.

    gap: median seconds between its rows, if known; age: how old its newest file is (s) where two machines'
    clocks told that, which may be wrong by hours. It makes no run live; but one that was written a moment
    ago, unseen by us, gets the time to be so again.
    """
    if pulse is None or pulse.first_look is None:
        return Verdict("checking", "first_look", "waiting for a sign of life")
    limit = max(QUIET, QUIET_GAPS * (gap or 0))
    silent = pulse.looked - (pulse.first_look if pulse.changed is None else pulse.changed)
    if pulse.changed is not None and silent <= limit:
        return Verdict("running", "grew", f"its files grew {_span(silent)} ago", {"seconds": round(silent)})
    patience = 0.0 if pulse.changed is not None or age is not None and age > SKEW else CHECKING
    if age is not None and age <= limit:
        patience = limit if pulse.changed is None else silent + 1 if age < silent - ALIVE else 0.0
    if silent < patience:
        return Verdict("checking", "first_look", "waiting for a sign of life",
                       {"seconds": round(silent), "limit": round(patience)})
    if pulse.changed is None and age is not None and age > limit:
        silent = max(silent, age)
    return Verdict("quiet", "no_change",
                   f"no change for {_span(silent)}; this kind of run does not say how it ended",
                   {"seconds": round(silent)})


def as_of(verdict, seconds):
    """Return the Verdict with its age: what was last known `seconds` ago, and nobody looks since."""
    return verdict._replace(text=f"{verdict.text}, as of {_span(seconds)} ago",
                            values={**verdict.values, "age": round(seconds)})


def with_ranks(verdict, status, ranks):
    """Return the Verdict on a run with what its ranks other than 0 said: the first that failed, or else was
    interrupted alone, or left no word. status: the dict of its status.json; ranks: {(attempt, rank): dict of
    a status.rankN.json}."""
    attempts = status.get("attempts") if isinstance(status, dict) else None
    last = attempts[-1] if isinstance(attempts, list) and attempts else None
    last = last.get("n") if isinstance(last, dict) and isinstance(last.get("n"), int) else 1
    newest = {rank: rank_status for (attempt, rank), rank_status in sorted(ranks.items()) if attempt >= last}
    kinds = (["failed"] + ["interrupted"] * (verdict.state not in ("failed", "interrupted"))
             + ["running"] * (verdict.state in ENDED))
    for kind in kinds:
        of_kind = sorted((_ended_at(rank_status), rank)
                         for rank, rank_status in newest.items() if rank_status.get("status") == kind)
        if of_kind:
            return _joined(verdict, kind, of_kind[0][1], newest[of_kind[0][1]], len(of_kind) - 1)
    return verdict


def _joined(verdict, kind, rank, rank_status, more):
    why = judge(rank_status, None)
    text = f"rank {rank} " + ("has not said how it ended" if kind == "running" else kind if why.text == kind
                              else f"{kind}: {why.text}")
    text += f" (and {more} more)" if more else ""
    values = {"rank": rank, "state": kind, "more": more, "why": why.reason(), "text": text}
    return verdict._replace(text=f"{verdict.text}; {text}", values={**verdict.values, "ranks": values})


def _ended_at(rank_status):
    ended = number(rank_status.get("ended_at"))
    return ended if ended is not None and ended == ended else float("inf")


def _failed(status):
    error, code = _text(status.get("error")), status.get("exit_code")
    if error:
        return Verdict("failed", "error", error, {"error": error})
    if isinstance(code, int):
        return Verdict("failed", "exit_code", f"exit code {code}", {"exit_code": code})
    return Verdict("failed", "failed", "failed")


def _text(value):
    return value[:2000].strip()[:500] or None if isinstance(value, str) else None


def _span(seconds):
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
