"""A run being written. Every call that returned is in the kernel's hands; none of them raises or waits."""

import sys
import threading
import time
from functools import partial
from threading import get_ident

from runicorn.layout import below, encode, own_file, run_path, to_json
from runicorn.writer import environment, exits
from runicorn.writer.append import AppendFile
from runicorn.writer.background import NEVER, Heart
from runicorn.writer.capture import Capture, log_gap
from runicorn.writer.definitions import Definitions, Metric
from runicorn.writer.live import Live
from runicorn.writer.notice import is_interrupt, name_unknown, say
from runicorn.writer.silent import Copied
from runicorn.writer.small_files import SmallFiles
from runicorn.writer.values import (
    attempt,
    encode_exact,
    fields,
    flatten,
    key_text,
    reason,
    texts,
    type_name,
    whole_exit_code,
    whole_step,
)

TICK_SECONDS = 0.5              # of the log's unfinished lines
LAST_VALUES_SECONDS = 5.0       # how old the metrics' last values in summary.json may be
METRICS_LIMIT = 10_000          # metrics whose last value summary.json holds; events.jsonl holds all
SAMPLE_SECONDS = 10.0           # between two samples of the system
FIRST_SAMPLE_SECONDS = 1.0      # a script of seconds need not load a GPU driver
SYNC_SECONDS = 2.0              # how old a row may be on the server of a network file system
CHECK_SECONDS = 10.0            # how soon it is noticed that a file was removed
FACTS_SECONDS = 2.0             # `finish` waits this long for git's answer
NUMBERS = frozenset((int, float, bool))
OVER = "finished"


class Run(Copied):
    """One run of an experiment, being written.

    Public: `id`, `project`, `name` (str), `dir` (pathlib.Path: put checkpoints here), `path` (str: the run
    below its root), `config`, `summary` (mappings), `step` (int: the largest so far), `resumed` (bool). Use
    it in a `with` block, or call `finish()`, or neither: a script that ends by itself finishes its run. Of
    its methods none raises, and any thread may call them.
    """

    def __init__(self, slot, meta, past, launch, capture=True, system=True, not_secret=frozenset(),
                 announce=None):
        """slot: where the files go. meta: dict for meta.json. past: of a resumed run its "status", "summary"
        and largest "step". launch: ranks.Launch. not_secret: see masking.masked. announce: called when the
        files are there and before the output is captured. Called by `init`. Raises OSError."""
        self.id, self.project, self._experiment = meta["id"], meta["project"], meta["name"]
        self._folder, self.path, self.attempt, self.rank = slot.folder, slot.path, slot.attempt, launch.rank
        self.resumed = slot.attempt > 1
        self.rows = 0                           # calls of `log` that are on disk
        self.threads = set()                    # identifiers of the threads that called `log`
        self.step = past.get("step", -1)
        self._root, self._last = slot.root, dict(past.get("summary", {}))
        self._definitions = (Definitions(meta["metrics"], meta.get("means", ())) if meta.get("metrics")
                             else None)
        self._lock = threading.RLock()          # re-entrant: a signal handler may log while this thread logs
        self._off, self._closed = None, False   # why nothing is recorded (any more); are all files closed
        self._verdict = None                    # the first that `conclude` was given: no other counts
        self._patience = FACTS_SECONDS          # how long the end may wait for git
        self._last_steps = []                   # [(function, whether it may take long)]
        # Made when first needed
        self._media = self._samples_from = self._sampler = self._samples = self._network = None
        self._last_rows, self._check_at = 0, 0.0
        self._events = self._own("events", _gap)
        began = {"n": self.attempt, "started_at": round(time.time(), 3), "host": meta["hostname"],
                 "pid": meta["pid"], "from_step": self.step + 1, "launch": launch.key}
        self._small = SmallFiles(meta, began, past.get("status", {}), self._last, not_secret,
                                 lambda: self._heart.wake())
        self.config, self.summary = self._small.config, self._small.summary
        self._place_small_files()
        self._live_facts = {name: began[name] for name in ("host", "pid", "started_at", "launch")}
        self._live = self._begin_to_live(slot)
        self._facts_known = threading.Event()
        self._heart = Heart(self._chores(system))
        if announce is not None:
            announce()
        self._output = self._capture(capture)

    def _own(self, stem, gap=None):
        """Open an append-only file of this attempt and rank."""
        return AppendFile(below(self._folder, own_file(stem, self.attempt, self.rank)), gap)

    def _place_small_files(self):
        self._small.place(self._folder)

    def _begin_to_live(self, slot):
        return Live(slot, {"id": self.id, "attempt": self.attempt, **self._live_facts})

    def _capture(self, capture):
        """Return what copies the output into logs.txt: a Capture, a DescriptorCapture for "fd", or None."""
        if capture == "fd":
            try:
                from runicorn.writer.capture_fd import DescriptorCapture
                return DescriptorCapture(below(self._folder, own_file("logs", self.attempt, self.rank)))
            except (OSError, ValueError) as error:      # Windows, a notebook, no room for a process
                say(f"capture=\"fd\" is not possible here ({error}); what Python prints is logged")
        return Capture(self._own("logs", log_gap)) if capture else None

    @property
    def dir(self):
        # Where it is rank 0's, which has to be found first: as if this rank had a run of its own
        from pathlib import Path
        return Path(self._folder or below(self._root, run_path(self.project, self._experiment, self.id)))

    @property
    def ended(self):
        """Whether the run is over (bool)."""
        return self._off is not None

    @property
    def forked(self):
        """Whether this process was forked from the one that writes the run (bool)."""
        return self._off is not None and self._off is not OVER

    # -- logging ---------------------------------------------------------------------------------------------

    def log(self, data, step=None, commit=True, **unknown):
        """Record one row of metrics.

        data: dict of name (any text) to int, float, bool, text, numpy or torch scalar, list of numbers,
        `Image`, list of images; nested dicts are flattened with "/". Floats are kept to the last bit, NaN and
        infinities too. What can't be logged is named once on stderr and left out. step: int; default: 1 + the
        largest step of the run so far. commit=False: the next call without a step gets the same step.
        """
        try:
            with self._lock:
                if self._off is not None:
                    self._ignored()
                    return
                if step is not None and type(step) is not int:
                    step = whole_step(step)
                if step is None:
                    step = self.step + 1
                if commit is not True:
                    commit = attempt(bool, commit)[0] is not False
                written, media = data, ()
                if type(data) is not dict or not NUMBERS.issuperset(map(type, data.values())):
                    data, media = self._clean(data, step)
                    written = self._small.masked(data)
                if self._definitions is not None:
                    row = {**media, **data} if media else data
                    lacking = attempt(self._definitions.take, row, self._last)[0]
                    if lacking:
                        data, written = {**data, **lacking}, {**written, **self._small.masked(lacking)}
                if not data and type(media) is dict:        # media have rows of their own
                    self.step = max(self.step, step if commit else step - 1)
                    return
                now = time.time()
                try:
                    line = f'{{"ts":{now:.3f},"step":{step},"data":{encode(written)}}}\n'.encode()
                except (ValueError, TypeError) as error:        # NaN, an odd key, half a character
                    data, line = self._encoded(data, step, error)
                self.threads.add(get_ident())
                if self._events.write(line, now):
                    self.rows += 1
                if step > self.step:
                    self.step = step if commit else step - 1
                self._last.update(data)
                if len(self._last) > METRICS_LIMIT:
                    self._forget_metrics()
            if unknown:
                name_unknown("log", unknown)
        except Exception as error:      # the one promise: whatever goes wrong in here, the training goes on
            if is_interrupt(error):
                raise
            say(f"log(): {reason(error)}; this call was not recorded", once=("log", type_name(error)))

    def _clean(self, data, step):
        """Return (what is logged as a row, {name: None} of the media in it)."""
        pairs = data if isinstance(data, dict) else attempt(fields, data)[0]
        if pairs is None:
            say(f"log() takes a dict, not {type_name(data)}; such calls are not recorded",
                once=("log", type_name(data)))
            return {}, {}
        media = {}
        return flatten(pairs, _dropped, lambda key, value: self._take_medium(key, value, step, media)), media

    def _take_medium(self, key, value, step, media):
        """Write a Medium, or a list of them, and its row; returns whether `value` was one."""
        images = sys.modules.get("runicorn.writer.images")
        kind = images and images.type_of(value)
        if not kind:
            return False
        media[key] = None
        prefix = f"rank{self.rank}-" if self.rank else ""
        self._media = self._media or images.Media(self.dir, prefix, self._small.masked)
        several = isinstance(value, (list, tuple))
        entries, error = attempt(
            lambda: [medium.entry(self._media) for medium in (value if several else [value])])
        if error is not None:
            say(f"the {kind} {key!r} was not logged: {reason(error)}", once=(kind, key))
        else:
            self._write_row(kind, step, {key: entries if several or kind == "image" else entries[0]})
        return True

    def _write_row(self, kind, step, data):
        row = {"ts": round(time.time(), 3), "step": step, "type": kind, "data": self._small.masked(data)}
        self._events.write((to_json(row) + "\n").encode("utf-8", "replace"))

    def alert(self, title, text="", level="INFO"):
        """Write an alert at the present step: a row of type "alert" with title, text and level
        ("INFO", "WARN" or "ERROR")."""
        with self._lock:
            if self._off is not None:
                self._ignored()
                return
            _, error = attempt(self._write_row, "alert", max(self.step, 0), {
                "title": key_text(title), "text": key_text(text), "level": key_text(level or "INFO")})
        if error is not None:
            say(f"alert(): {reason(error)}", once=("alert", type_name(error)))

    def _encoded(self, data, step, error):
        try:
            encode(data).encode()
        except (ValueError, TypeError):
            pass                        # the data it is
        else:
            raise error                 # a time limit of the script's, of the same kind
        data = flatten(data, _dropped)
        text = encode_exact(self._small.masked(data))
        return data, f'{{"ts":{time.time():.3f},"step":{step},"data":{text}}}\n'.encode()

    def _forget_metrics(self):
        for key in list(self._last)[METRICS_LIMIT:]:
            del self._last[key]
        say(f"more than {METRICS_LIMIT} metrics: all are recorded, "
            f"but the summary holds the first {METRICS_LIMIT} only")

    def define_metric(self, name, step_metric=None, step_sync=None, hidden=None, summary=None, goal=None,
                      overwrite=None, **unknown):
        """Say of a metric, or of all that fit a pattern ("val/*"), which values the summary keeps, as
        "<name>.min" and so on.

        summary: one or several of "min", "max", "mean", "first", "last", "best", with commas (str). goal:
        "minimize" or "maximize", what "best" means; else the one of min and max that is named, else what the
        metric's name says. step_metric: the metric it is drawn by; its last value joins each row that lacks
        it, unless step_sync is False. hidden: bool. overwrite: True forgets what was said of it before.
        Returns an object with the `name`, as wandb does.
        """
        metric, error = attempt(self._define, name, step_metric, step_sync, hidden, summary, goal, overwrite)
        if error is not None:
            say(f"define_metric(): {reason(error)}; this call had no effect",
                once=("define", type_name(error)))
        name_unknown("define_metric", unknown)
        return metric or Metric(key_text(name))

    def _define(self, name, *words):
        name = key_text(getattr(name, "name", None) or name)
        with self._lock:
            definitions = self._definitions or Definitions()
            for word in definitions.define(name, *words):
                say(f"define_metric({name!r}): {word} is unknown and was ignored",
                    once=("define", name, word))
            self._definitions = definitions
        has_mean = "mean" in definitions.entries[name].get("summary", "")
        self._small.set(metrics=definitions.entries, **({"means": definitions.means} if has_mean else {}))
        return Metric(name)

    def watch(self, *models, **unknown):
        """Accepted for scripts written for wandb; gradients are not recorded."""

    def _ignored(self):
        say(f"log() after the run ended records nothing ({self._off})", once=("off", self.id))

    # -- the small files -------------------------------------------------------------------------------------

    @property
    def tags(self):
        """The run's tags (tuple of str); assign to change them."""
        return tuple(self._small.meta.get("tags", ()))

    @tags.setter
    def tags(self, tags):
        self._small.set(tags=texts(tags))

    @property
    def name(self):
        """The experiment's name (str); assigning another makes it this run's display
        name, and moves no folder."""
        return self._small.meta.get("display_name") or self._small.meta["name"]

    @name.setter
    def name(self, name):
        self._small.set(display_name=key_text(name))

    def fact(self, name):
        """Return what meta.json has by the `name` (str), or None."""
        return self._small.meta.get(name)

    @property
    def notes(self):
        """What the run is about (str or None); assign to change it."""
        return self._small.meta.get("notes")

    @notes.setter
    def notes(self, notes):
        self._small.set(notes=None if notes is None else key_text(notes))

    # -- the daemon thread -----------------------------------------------------------------------------------

    def start(self):
        """Begin the heartbeat; returns the run."""
        if not self._heart.start():
            self._facts_known.set()             # nobody asks git
            self._events.when_looked(self._without_thread)
        return self

    def _without_thread(self, now):
        """Have what can't wait done in `log`, at most ten times a second, until there
        is room for a thread."""
        if self._heart.start():
            self._events.when_looked(None)
        else:
            self._heart.one_pass(time.monotonic(), (self._beat, self._small.flush, self._last_values))

    def _chores(self, system):
        chores = [self._small.flush, self._unfinished_lines, self._beat, self._last_values, self._slow_facts,
                  self._look_after_files]
        return chores + [self._sample] if system else chores

    def _beat(self, now):
        return self._live.beat()

    def _unfinished_lines(self, now):
        if self._output is not None:
            self._output.tick(now)
        return TICK_SECONDS

    def _last_values(self, now):
        if self.rows != self._last_rows:
            self._last_rows = self.rows
            self._small.rows_came(now)
        return LAST_VALUES_SECONDS

    def _slow_facts(self, now):
        try:
            facts = environment.git(environment.script_folder())
            if facts:
                self._small.set(git=facts)
        finally:
            self._facts_known.set()
        return NEVER

    def _sample(self, now):
        if self._samples_from is None:
            self._samples_from = now + FIRST_SAMPLE_SECONDS
        if now < self._samples_from:
            return self._samples_from - now
        if self._sampler is None:               # made off the main thread: a GPU driver takes seconds to wake
            from runicorn.writer.system import Sampler  # here, as below: a short program does without
            self._sampler = Sampler(self._root)
            if self._sampler.gpus.facts():
                self._small.set(gpus=self._sampler.gpus.facts())
            return FIRST_SAMPLE_SECONDS         # CPU use needs two looks at the clock
        if self._samples is None:
            self._samples = self._own("system")
        self._samples.write((to_json(self._sampler.sample()) + "\n").encode())
        return SAMPLE_SECONDS

    def _look_after_files(self, now):
        """Notice files that went away; where the folder is on a network, have what grew reach the server."""
        if self._network is None:
            from runicorn.writer.system import on_network
            self._network = on_network(self._root)
        files = [self._events, *([self._samples] if self._samples else [])]
        for file in files + (self._output.files if self._output else []):
            if self._network:
                file.sync()
            if now >= self._check_at:
                file.check()
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
        return SYNC_SECONDS if self._network else CHECK_SECONDS

    # -- the end ---------------------------------------------------------------------------------------------

    def finish(self, exit_code=None, **unknown):
        """End the run: status.json says how, the output is no longer captured. exit_code: int; 0 is
        finished, others failed; default: interrupted if a signal is ending the process, else finished.
        Further calls do nothing."""
        self.conclude(exits.verdict_now(whole_exit_code(exit_code)))

    def conclude(self, verdict, hurry=False):
        """End the run as `verdict` (a dict, see exits.verdict) says. That is on disk before anything else is
        done, and stays.

        hurry: the process is about to die; wait for nothing. Raises, when all is done, what a signal handler
        raised meanwhile.
        """
        if hurry:
            self._patience, self._last_steps = 0.0, [step for step in self._last_steps if not step[1]]
        self._verdict = self._verdict or verdict
        steps = [partial(self._be_over, self._verdict)] if self._off is None else []
        if steps or self._off is OVER and not self._closed:
            steps += [self._await_facts, self._stop_heart, *self._closing(), self._small.state_again,
                      partial(exits.forget, self)]
            raised = exits.each(steps)
            self._closed = True
            if raised is not None:
                raise raised

    def before_closing(self, step, is_long=False):
        """Have `step` (a function) called at the end, once the verdict is written and before the files are
        closed. is_long: not where the process is about to die."""
        self._last_steps.append((step, is_long))

    def _be_over(self, verdict):
        self._small.end()
        self.state_end(verdict)
        self._off = OVER

    def state_end(self, verdict):
        """Have status.json say that the run ended so, without ending anything: how it ends is known, or
        another error than thought was on its way."""
        self._small.state_end(verdict)

    def _await_facts(self):
        until = time.monotonic() + self._patience
        while self._patience and time.monotonic() < until and not self._facts_known.wait(0.05):
            pass
        self._patience = 0.0                # whoever interrupts this once need not do so again

    def _stop_heart(self):
        self._heart.stop(1.0 if self._facts_known.is_set() else 0.0)

    def _closing(self):
        closing = [step for step, _ in self._last_steps]
        closing += [self._output.stop] if self._output is not None else []
        closing += [self._small.write, self._close_rows]
        closing += [file.end for file in (self._live,) if file is not None]
        return closing

    def _close_rows(self):
        with self._lock:                # not while another thread is within `log`
            self._events.close()
        if self._samples is not None:
            self._samples.close()

    def step_aside(self, verdict):
        """The process is about to become another program: everything is on disk, and nothing is closed."""
        self.state_end(verdict)
        self._small.write()
        if self._live is not None:
            self._live.end()

    def go_on(self):
        """The run goes on after all."""
        self._small.go_on()
        if self._live is not None:
            self._live.beat()

    def abandon(self):
        """In a forked child: the run belongs to the parent. Nothing is written from
        here, and locks are fresh."""
        self._lock = threading.RLock()
        if self._off is None:
            self._off = "only the process that called init() writes; this one was forked from it"
        self._small.abandon()
        if self._output is not None:
            self._output.abandon()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            self.finish()
        elif self._off is OVER:         # by a `finally` within the block
            self.state_end(exits.verdict_of(error))
        else:
            self.conclude(exits.verdict_of(error))

    def __repr__(self):
        return f"<runicorn.Run {self.path}>"


def _dropped(key, why):
    say(f"{key!r} can't be logged: {why}; it is left out", once=("dropped", key))


def _gap(lost):
    return f'{{"ts":{time.time():.3f},"type":"gap","lines":{lost}}}\n'.encode()
