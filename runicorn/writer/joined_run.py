"""The run of a script that `runicorn run` started: what it logs joins the run there is, which goes on when
the script's own part is over.

Of the run's files the script writes events.jsonl, meta.json and summary.json from when it joins; status.json,
the log, the samples and the heartbeat stay with `runicorn run`, which is told how the script ended.
"""

import os

from runicorn.layout import META, SUMMARY, below, read_json
from runicorn.writer import link
from runicorn.writer.background import NEVER
from runicorn.writer.rank_run import RankRun
from runicorn.writer.run import Run
from runicorn.writer.run_folder import Place, largest_step

FACTS_SECONDS = 3.0         # by then `runicorn run` knows the GPUs

_joined = False             # whether this process, as the program it is now, has joined


def join(spec, fields, facts, options, launch):
    """Return the JoinedRun of the first `init` below a `runicorn run`, None where there is none or another
    was first.

    An `init` with the id that the first one was given goes on with what that began, as far as the script
    knows.

    spec: project, name, config, tags, notes … of `init`. fields: its project, name and id, None where it
    names none, and its "resume". facts: of this process, for meta.json. options: of Run. launch:
    ranks.Launch. Raises OSError.
    """
    global _joined
    answer = link.ask({"ask": "join", "pid": os.getpid(), "again": not _joined, "key": launch.key, **fields})
    if not answer or "folder" not in answer:
        return None
    resumes, _joined = _joined, True
    place_of_run = Place(answer["root"], answer["path"], answer["folder"], answer["id"], answer["attempt"])
    before = read_json(below(place_of_run.folder, META)) or {}
    step = max(answer["step"], largest_step(place_of_run.folder)) if resumes else answer["step"]
    past = {"summary": read_json(below(place_of_run.folder, SUMMARY)) or {}, "step": step}
    meta = {**facts, **{key: value for key, value in spec.items() if value not in (None, [], {})}, **before}
    meta["config"] = {**before.get("config", {}), **spec["config"], **answer["settings"]}
    meta["tags"] = list(dict.fromkeys([*before.get("tags", ()), *spec["tags"]]))
    meta["notes"] = before.get("notes") or spec["notes"]
    meta["python"] = facts["python"]
    run = JoinedRun(place_of_run, meta, past, launch, **dict(options, capture=False, system=False))
    run.resumed = run.resumed or resumes
    return run


class JoinedRun(Run):
    """Its end is the script's part's, not the run's."""

    def _place_small_files(self):
        self._small.place(self._folder, (META, SUMMARY))

    def _begin_to_live(self, slot):
        return None

    def _beat(self, now):
        return NEVER

    def _chores(self, system):
        self._facts_at = None
        return [*super()._chores(system), self._others_facts]

    def _others_facts(self, now):
        """Put what `runicorn run` found out about the machine into meta.json, which is ours to write."""
        if self._facts_at is None:
            self._facts_at = now + FACTS_SECONDS
        if now < self._facts_at:
            return self._facts_at - now
        facts = {key: value for key, value in (link.ask({"ask": "facts"}) or {}).items()
                 if key not in self._small.meta}
        if facts:
            self._small.set(**facts)
        return NEVER

    def state_end(self, verdict):
        """Tell `runicorn run`, which has the last word."""
        self._untold = None if self._tell(verdict) else verdict

    def _tell(self, verdict):
        return link.ask({"ask": "end", "pid": os.getpid(),
                         "verdict": self._small.masked(verdict)}, wait=False) is not None

    def _closing(self):
        return [*super()._closing(), self._tell_again]

    def _tell_again(self):
        """Where there was no descriptor for it, what was closed meanwhile has made room."""
        if self._untold is not None:
            self._tell(self._untold)


class LaunchedRank(RankRun):
    """A rank other than 0 of a launch below `runicorn run`: it asks where the run is as soon as rank 0 has
    joined it."""

    def _running(self):
        return self._place(False) or super()._running()

    def _over(self):
        return self._place(True) or super()._over()

    def _place(self, is_last):
        """Return (path, id, attempt), None while rank 0 may still have the run moved, unless this is the last
        we write."""
        answer = link.ask({"ask": "run", "last": is_last})
        return (answer["path"], answer["id"], answer["attempt"]) if answer and "path" in answer else None
