"""Turn the log that W&B writes (`run-*.wandb`) into rows: one for each `log` of a script. Opens no file.

`Reader` gives the metrics, `SystemReader` what W&B measured of the machine, as rows named "system/…" whose
step is their time: two readings of one file, so that neither's numbers get among the other's. A file of 0
bytes may be that of a live run: W&B writes late. Pictures, tables and the like are counted by their `_type`
and are no metrics. What was printed is told in full to who gives `log`.
"""

import math
from array import array

from runicorn.metrics.kinds.names import Names
from runicorn.metrics.kinds.protobuf import fields, inner, signed, text
from runicorn.metrics.kinds.wandb_log import BLOCK, Log, begins, log_of, whole
from runicorn.metrics.kinds.wandb_records import (
    MEDIA,
    OTHER_MEDIA,
    Keys,
    as_number,
    definition,
    environment_facts,
    flat,
    is_internal,
    items,
    media_paths,
    output,
    removed,
    run_facts,
    seconds,
)
from runicorn.metrics.parse import STEP_LIMIT, RowPart

VALUES = 100_000            # of one row
TAIL = 4096                 # characters of the output that `facts` tells
DEFINITIONS = 1000
# Of Record
COUNTED = {6: "files", 8: "artifacts", 9: "TensorBoard folders", 10: "alerts", 24: "artifacts",
           25: "artifacts"}
# number, telemetry, control, uuid, final, footer, … : nothing to show
SILENT = (1, 11, 16, 19, 20, 22, 23, 27, 100, 200)


def is_kind(name, head):
    """Whether a file is W&B's log. name: without its folder; head: its first 4,096 bytes, all of a shorter
    file."""
    return name.endswith(".wandb") and begins(head)


class _Rows:
    """The rows of one `take`, and what lasts from one to the next: the number of rows, the last time and
    step, and the names."""

    def __init__(self, skip, state):
        self._skip = skip
        self.count, self._ts, self._step = state.get("rows", 0), state.get("ts", 0.0), state.get("step", -1)
        self._names = Names(state.get("names", ()))
        self._parts = {}

    def state(self):
        return {"rows": self.count, "ts": self._ts, "step": self._step, "names": list(self._names)}

    def taken(self):
        """Return the Parts since the last call."""
        parts, self._parts = list(self._parts.values()), {}
        return parts

    def add(self, ts, step, data):
        """Append a row. ts, step: as told, or None; data: {name: float}."""
        self._ts = ts if ts is not None and math.isfinite(ts) else self._ts
        self._step = self._step + 1 if step is None else step
        row, self.count = self.count, self.count + 1
        names = []
        for name in sorted(data):
            if self._names.admit(name):
                names.append(name)
            else:
                self._skip("values of too many metrics")
        if names:
            part = self._parts.setdefault(tuple(names), RowPart(tuple(names), [], [], [], array("d")))
            part.rows.append(row)
            part.ts.append(self._ts)
            part.steps.append(self._step)
            part.cells.extend([data[name] for name in names])


class _LogReader:
    """Reads records one by one; what they mean is the subclasses'. For one thread at a time."""

    grid, records, framed = BLOCK, staticmethod(whole), staticmethod(log_of)          # see kinds.sampled

    def __init__(self, state=None):
        state = state or {}
        self.skipped = dict(state.get("skipped", ()))
        self._log, self._rows = Log(self._skip, state.get("log")), _Rows(self._skip, state.get("rows", {}))

    def state(self):
        """Return all that is needed to go on (dict for JSON)."""
        return {"skipped": dict(self.skipped), "log": self._log.state(), "rows": self._rows.state()}

    def take(self, block, remaining):
        """Return (bytes used, list of Parts). block: bytes from the position on; remaining: bytes from there
        to the file's end."""
        used, records = self._log.take(block)
        for record in records:
            try:
                for field, kind, value in fields(record):
                    if kind == 2:
                        self._record(field, value)
            except ValueError:
                self._skip("unreadable records")
        return used, self._rows.taken()

    def _skip(self, reason, count=1):
        self.skipped[reason] = self.skipped.get(reason, 0) + count


class SystemReader(_LogReader):
    """Gives what was measured of the machine, "system/cpu" and the like, in W&B's units."""

    kind = "wandb-system"

    def facts(self):
        """Return {}: what else is known `Reader` tells."""
        return {}

    def _record(self, field, message):
        if field != 7:
            return
        ts = next((seconds(value) for value in inner([message], 2)), None)
        data = {}
        for name, value in flat(items(message, 3, self._skip), (), lambda _: None):
            value = as_number(value)
            if value is not None and len(data) < VALUES:
                data[f"system/{name}"] = value
        if data and ts is not None:
            self._rows.add(ts, ts, data)


class Reader(_LogReader):
    """Gives what the script logged."""

    kind = "wandb"

    def __init__(self, state=None, log=None):
        """state: what `state` returned, also after JSON. log: called with (Unix s or None, "stdout" or
        "stderr", text) for each piece that was printed, in order; whoever wants the log of a whole file reads
        it from its beginning."""
        super().__init__(state)
        state = state or {}
        self._on_output = log
        self._facts, self._counts = dict(state.get("facts", ())), dict(state.get("counts", ()))
        self._config, self._summary = Keys(state.get("config", ())), Keys(state.get("summary", ()))
        # Of the summary, where later only what changed is told
        self._media = {tuple(path) for path in state.get("media", ())}
        self._definitions = {entry["name"]: entry for entry in state.get("definitions", ())}
        self._output = dict(state.get("output", {"pieces": 0, "tail": ""}))

    def state(self):
        """Return all that is needed to go on (dict for JSON)."""
        return {**super().state(), "facts": dict(self._facts), "counts": dict(self._counts),
                "config": dict(self._config.values), "summary": dict(self._summary.values),
                "media": list(self._media), "definitions": list(self._definitions.values()),
                "output": dict(self._output)}

    def facts(self):
        """Return what else the log says, only what is known: config, summary, run_id, project, name, host,
        git, tags, notes, group, job_type, resumed, started, exit_code, finished, counts, definitions; log:
        {"pieces": how many, "tail": the last of the text}."""
        facts = {"config": dict(self._config.values), "summary": dict(self._summary.values),
                 "counts": dict(self._counts), "definitions": list(self._definitions.values()),
                 "log": dict(self._output) if self._output["pieces"] else None}
        return {**self._facts, **{name: value for name, value in facts.items() if value}}

    def _record(self, field, message):
        handle = {2: self._history, 3: self._update_summary, 4: self._print, 5: self._configure,
                  12: self._define, 13: self._print, 17: self._run, 18: self._exit, 21: self._header,
                  26: self._environment}.get(field)
        if handle:
            handle(message)
        elif field in COUNTED:
            self._count(COUNTED[field])
        elif field not in SILENT and field != 7:
            self._count("unknown records")

    def _history(self, message):
        own, pairs = {}, []
        for path, value in items(message, 1, self._skip):
            if is_internal(path):
                own[path[0]] = as_number(value)
            else:
                pairs.append((path, value))
        media = media_paths(pairs)
        for kind in media.values():
            self._count(MEDIA.get(kind, OTHER_MEDIA))
        data = {}
        for name, value in flat(pairs, media, self._count):
            value = as_number(value)
            if value is not None:
                data[name] = value
                if len(data) > VALUES:
                    del data[name]
                    self._skip("values beyond 100,000 of one row")
                    break
        self._rows.add(self._time(own), _step(own.get("_step"), message), data)

    def _time(self, own):
        if own.get("_timestamp") is not None:
            return own["_timestamp"]
        started, runtime = self._facts.get("started"), own.get("_runtime")
        return started + runtime if started is not None and runtime is not None else None

    def _update_summary(self, message):
        pairs = [pair for pair in items(message, 1, self._skip) if not is_internal(pair[0])]
        self._media.update(list(media_paths(pairs))[:max(0, DEFINITIONS - len(self._media))])
        for name, value in flat(pairs, self._media, lambda _: None):
            if value is not None and type(value) is not list and not self._summary.put(name, value):
                self._skip("summary beyond its limits")
        for path in removed(message):
            self._summary.remove(".".join(path))

    def _configure(self, message):
        for path, value in items(message, 1, self._skip):
            if not is_internal(path) and not self._config.put_nested(path, value):
                self._skip("config beyond its limits")
        for path in removed(message):
            if len(path) == 1:
                self._config.remove(path[0])

    def _run(self, message):
        self._facts.update(run_facts(message))
        for config in inner([message], 4):
            self._configure(config)
        for summary in inner([message], 5):
            self._update_summary(summary)

    def _exit(self, message):
        code = next((signed(value) for field, kind, value in fields(message) if (field, kind) == (1, 0)), 0)
        self._facts.update(exit_code=code, finished=True)

    def _header(self, message):
        producer = b"".join(inner(inner([message], 1), 1))
        if producer:
            self._facts["producer"] = text(producer, 100)

    def _environment(self, message):
        self._facts.update(environment_facts(message))

    def _define(self, message):
        entry = definition(message)
        if "name" in entry and (entry["name"] in self._definitions or len(self._definitions) < DEFINITIONS):
            self._definitions[entry["name"]] = entry

    def _print(self, message):
        ts, stream, line = output(message)
        self._output["pieces"] += 1
        self._output["tail"] = (self._output["tail"] + line)[-TAIL:]
        if self._on_output:
            self._on_output(ts, stream, line)

    def _count(self, name):
        self._counts[name] = self._counts.get(name, 0) + 1


def _step(step, message):
    """Return the step of a row: its item `_step`, else HistoryRecord.step.num, which older versions leave 0;
    None if neither stands."""
    if step is None or not math.isfinite(step):
        numbers = [signed(value) for field, kind, value in fields(b"".join(inner([message], 2)))
                   if (field, kind) == (1, 0)]
        return numbers[0] if numbers else None
    return int(step) if step == int(step) and abs(step) < STEP_LIMIT else step
