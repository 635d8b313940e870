"""`sync_tensorboard=True`: what TensorBoard's writers (torch's, tensorboardX's, TensorBoard's own) put into
their files becomes rows of the current run, in the same call. A value's step is the event's; as with W&B each
row also has it as `global_step`."""

import os
import struct
import sys

from runicorn.layout import number
from runicorn.wandb import data_types
from runicorn.writer import current, link
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, reason

__path__ = []           # W&B has modules below it
WRITERS = ("tensorboard.summary.writer.event_file_writer", "tensorboardX.event_file_writer")
# Of TensorFlow's DataType, those that a scalar has
FORMATS = {1: "f", 2: "d", 3: "i", 4: "B", 6: "b", 9: "q", 10: "?"}
LISTS = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "half_val")
_originals, _folders = {}, []       # {class: its add_event}; the folders that were written, in their order


def patch(save=True, tensorboard_x=None, pytorch=None, root_logdir="", **unknown):
    """Log what the writers write from now on. root_logdir: the folder below which the names of folders become
    part of the metrics'."""
    if root_logdir:
        _folders.insert(0, os.path.abspath(root_logdir))
    from importlib import import_module
    from importlib.util import find_spec
    for name in WRITERS:
        if name in sys.modules or attempt(find_spec, name.partition(".")[0])[0]:
            module, error = attempt(import_module, name)
            if error is None and module.EventFileWriter not in _originals:
                _wrap(module.EventFileWriter)
    if not _originals:
        say("sync_tensorboard: neither tensorboard nor tensorboardX is installed here",
            once="sync_tensorboard")


def unpatch():
    """Log it no more."""
    for kind, original in _originals.items():
        kind.add_event = original
    _originals.clear()
    _folders.clear()


def _wrap(kind):
    original = _originals[kind] = kind.add_event

    def add_event(self, event, *args, **kwargs):
        result = original(self, event, *args, **kwargs)
        _, error = attempt(_take, event, self.get_logdir())
        if error is not None:
            say(f"sync_tensorboard: {reason(error)}; such events are in TensorBoard's files only",
                once=("sync", reason(error)))
        return result
    kind.add_event = add_event


def _take(event, folder):
    """Log an Event (protobuf message) that was written below `folder`."""
    run, prefix = current.current_run(), _prefix(folder)
    row = run and _row(event.summary.value, prefix)
    if row:
        run.log({**row, "global_step": event.step}, event.step)


def log(tf_summary_str_or_pb, history=None, step=0, namespace="", **kwargs):
    """Log a Summary (message), at `step`."""
    run = current.current_run()
    if run is not None and hasattr(tf_summary_str_or_pb, "value"):
        run.log(_row(tf_summary_str_or_pb.value, namespace and namespace + "/"), step or None)


def _prefix(folder):
    """Return what stands before a metric's name: nothing for the first folder, for others their path below it
    or beside it."""
    folder = os.path.abspath(folder)
    if folder not in _folders:
        _folders.append(folder)
        link.ask({"ask": "logged", "folder": folder})       # `runicorn run` reads other event files
    if folder == _folders[0]:
        return ""
    root = _folders[0] + os.sep
    below = os.path.relpath(folder, _folders[0] if folder.startswith(root) else os.path.dirname(_folders[0]))
    return "" if below.startswith("..") else below.replace(os.sep, "/") + "/"


def _row(values, prefix):
    row = {}
    for value in values:
        content = _content(value)
        if content is not None:
            row[prefix + value.tag] = content
    return row


def _content(value):
    """Return a number, text or medium of a Summary.Value, None for what is none."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return value.simple_value
    if kind == "histo":
        return data_types.Histogram(np_histogram=_bins(value.histo))
    if kind == "image":
        return data_types.Image(value.image.encoded_image_string)
    if kind == "audio":
        return data_types.Audio(value.audio.encoded_audio_string)
    return _scalar(value.tensor) if kind == "tensor" else None


def _bins(histogram):
    """Return (counts, edges) of a HistogramProto, with at most 64 bins and none that is empty at an end."""
    counts, limits = list(histogram.bucket), list(histogram.bucket_limit)
    while len(counts) > 1 and not counts[-1]:
        counts.pop()
    lowest = next((index for index, count in enumerate(counts) if count), 0)
    counts, limits = counts[lowest:], [min(limit, histogram.max) for limit in limits[lowest:len(counts)]]
    together = -(-len(counts) // data_types.BINS)
    starts = range(0, len(counts), together)
    return ([sum(counts[start:start + together]) for start in starts],
            [min([histogram.min, *limits[:1]]),
             *(limits[min(start + together, len(counts)) - 1] for start in starts)])


def _scalar(tensor):
    if tensor.dtype == 7:               # texts
        return (None if any(size.size != 1 for size in tensor.tensor_shape.dim) or len(tensor.string_val) != 1
                else (tensor.string_val[0].decode("utf-8", "replace")))
    if any(side.size != 1 for side in tensor.tensor_shape.dim):
        return None
    if tensor.tensor_content and tensor.dtype in FORMATS:
        return struct.unpack("<" + FORMATS[tensor.dtype], tensor.tensor_content)[0]
    return next((number(getattr(tensor, name)[0]) for name in LISTS if getattr(tensor, name, ())), None)


def __getattr__(name):
    from runicorn.wandb.aliases import attribute
    return attribute(name, "tensorboard")
