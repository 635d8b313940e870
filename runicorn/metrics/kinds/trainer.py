"""trainer_state.json of Transformers: the history of a training in one object, replaced whole with each
checkpoint.

Rows are read once the object is complete; of a file beyond WHOLE bytes, each entry of `log_history` as soon
as it is, so that memory stays bounded. The file has no times: `facts` tells "no_times", all `ts` are 0.0.
"""

import json
import math
import re
from array import array

from runicorn.layout import number
from runicorn.metrics.kinds.row_steps import whole
from runicorn.metrics.parse import Part

WHOLE = 15 << 20            # bytes; what hands blocks over need not make them longer than 16 MiB
LIMIT = 64 << 20            # bytes of a file that is read at all
ENTRY = 1 << 20             # bytes of one entry of the history
HISTORY = re.compile(rb'"log_history"\s*:\s*\[')
BETWEEN = re.compile(rb"[\s,]*")
# a number as version 5 writes it
TEXT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|[-+]?inf|NaN|-?Infinity")
CONFIG = ("logging_steps", "eval_steps", "save_steps", "num_train_epochs", "max_steps", "train_batch_size",
          "trial_name")
SUMMARY = ("best_metric", "best_global_step", "best_model_checkpoint", "epoch", "global_step", "total_flos",
           "num_input_tokens_seen")


def is_kind(name, head):
    """Whether a file is the state of a Trainer: `name` (str), and `head`, its first 4,096 bytes."""
    return name == "trainer_state.json" and head.lstrip().startswith(b"{") and (b'"global_step"' in head
                                                                                or b'"best_m' in head)


class Reader:
    """Reads one file from its beginning, or from where `state` was told."""

    kind, grid = "trainer", 0

    def __init__(self, state=None):
        """state: what `state` told (dict), or None."""
        state = state or {}
        self.skipped = dict(state.get("skipped", {}))
        self._rows, self._facts = state.get("rows", 0), state.get("facts", {"no_times": True})
        self._is_done = state.get("done", False)
        self._is_inside = state.get("inside", False)        # of the history of a long file
        self._head = state.get("head", "")                  # of a long file: what stands before its history

    def state(self):
        """Return what a Reader that goes on from here is made with (dict)."""
        return {"skipped": dict(self.skipped), "rows": self._rows, "facts": dict(self._facts),
                "done": self._is_done, "inside": self._is_inside, "head": self._head}

    def facts(self):
        """Return what else is known of the run (dict)."""
        return dict(self._facts)

    def take(self, block, remaining):
        """Return (bytes used, list of parse.Part) of `block`, with which the `remaining` bytes of the file
        that are not read yet begin."""
        if self._is_done or not block:
            return remaining, []
        if remaining > LIMIT and not self._is_inside:
            return self._end(remaining, "longer than 64 MiB")
        if self._is_inside or remaining > WHOLE:
            return self._take_entries(block, remaining)
        if len(block) < remaining:
            return 0, []
        try:
            state = json.loads(block.decode("utf-8"))
        except (ValueError, RecursionError):
            # Still being written, or damaged: the next one replaces it
            return 0, []
        self._is_done = True
        history = state.get("log_history") if type(state) is dict else None
        if type(history) is not list:
            return self._end(remaining, "no history")
        self._note(state)
        return remaining, self._parts(history)

    def _end(self, used, reason):
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        self._is_done = True
        return used, []

    def _take_entries(self, block, remaining):
        """Read the complete entries of a long file's history that `block` holds."""
        position = 0
        if not self._is_inside:
            match = HISTORY.search(block)
            if not match:
                return (0, []) if len(block) < min(remaining, ENTRY) else self._end(remaining, "no history")
            self._head, position, self._is_inside = (block[:match.start()].decode("utf-8", "replace")[-4096:],
                                                     match.end(), True)
        entries = []
        while True:
            position = BETWEEN.match(block, position).end()
            end = block.find(b"}", position) + 1
            if block.startswith(b"]", position):
                if len(block) < remaining:                       # the tail tells how far the training is
                    return ((remaining, self._parts(entries)) if len(block) - position > ENTRY
                            else (position, self._parts(entries)))
                self._note_tail(block[position + 1:])
                return remaining, self._parts(entries)
            entry, end = _entry(block, position, end)
            if not end:
                if len(block) - position > ENTRY:
                    return self._end(remaining, "an entry that does not end")[0], self._parts(entries)
                return position, self._parts(entries)
            entries.append(entry)
            position = end

    def _note_tail(self, tail):
        try:
            state = json.loads(self._head.rstrip().rstrip(",") + ("" if self._head.strip() == "{" else ",")
                               + '"log_history": []' + tail.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return                                          # not written to its end
        self._is_done = True
        self._note(state)

    def _note(self, state):
        facts, steps, reached = {"no_times": True}, state.get("max_steps"), state.get("global_step")
        if type(steps) is int and steps > 0:
            facts["steps"] = steps
            facts["finished"] = type(reached) is int and reached >= steps
        for name, keys in (("config", CONFIG), ("summary", SUMMARY)):
            settings = {key: state[key] for key in keys if _is_plain(state.get(key))}
            if settings:
                facts[name] = settings
        if type(state.get("trial_name")) is str:
            facts["name"] = state["trial_name"][:200]
        self._facts = facts

    def _parts(self, history):
        """Return the Parts of entries (list) of the history."""
        shapes = {}
        for entry in history:
            step = entry.get("step") if type(entry) is dict else None
            if type(step) not in (int, float) or not math.isfinite(number(step)):
                continue
            data = {name: value for name, value in ((name,
                                                     value_of(value)) for name, value in entry.items()
                                                    if name != "step") if value is not None}
            if data:
                shapes.setdefault(tuple(data), []).append((self._rows, whole(step), data.values()))
                self._rows += 1
        return [Part(names, [row for row, _, _ in rows], [0.0] * len(rows), [step for _, step, _ in rows],
                     [array("d", column) for column in zip(*(values for _, _, values in rows))])
                for names, rows in shapes.items()]


def _entry(block, position, end):
    """Return (entry, its end) for the object of `block` at `position` whose first closing brace ends at
    `end`; end 0: it does not end."""
    while end and end - position <= ENTRY:
        try:
            return json.loads(block[position:end].decode("utf-8")), end
        except (ValueError, RecursionError):
            # That brace stood in a text, or ended an object within
            end = block.find(b"}", end) + 1
    return None, 0


def value_of(value):
    """Return the float of a number, also of one that is written as text, or None for what is none."""
    if type(value) is str:
        return float(value.replace("Infinity", "inf")) if len(value) < 64 and TEXT.fullmatch(value) else None
    return number(value) if type(value) in (int, float) else None


def _is_plain(value):
    return type(value) in (int, float) or type(value) is str and len(value) <= 1000
