"""W&B's media, as files of the run below `media/` and rows of events.jsonl. Making one raises nothing; what
can't be written is named when it is logged, and left out."""

import io
import json
import os
import struct
import sys

from runicorn.wandb.table import JoinedTable, Table  # noqa: F401 (names of this module)
from runicorn.writer import images
from runicorn.writer.images import Medium
from runicorn.writer.values import attempt, key_text, plain

__path__ = []           # W&B has modules below it
EvalTable = Table
BINS = 64                   # of a histogram, at most


class Image(images.Image):
    """An image; see runicorn.Image. boxes, masks: as in W&B; masks are written as files of their own."""

    def __init__(self, data_or_path=None, mode=None, caption=None, grouping=None, classes=None, boxes=None,
                 masks=None, file_type=None, normalize=True, **unknown):
        if isinstance(data_or_path, images.Image):
            data_or_path, caption = data_or_path.data, data_or_path.caption if caption is None else caption
        super().__init__(data_or_path, caption)
        self._boxes, self._masks, self._classes = boxes, masks, classes

    def encoded(self):
        """Return (bytes of an image file, its ending)."""
        data = images.array_of(self.data)
        if hasattr(data, "astype") and getattr(data, "dtype", None) is not None:
            if len(data.shape) == 4:                    # a batch: side by side
                count, channels, height, width = data.shape
                data = data.transpose(1, 2, 0, 3).reshape(channels, height, count * width)
            if data.dtype.kind == "f" and data.size:
                low, high = data.min(), data.max()
                data = (data - low) / ((high - low) or 1) if low < 0 else data / 255 if high > 1 else data
        return images.Image(data).encoded()

    def entry(self, media):
        """Return {"file", "caption"?, "boxes"?, "masks"?, "classes"?}."""
        entry = media.keep(self)
        for name, value in (("boxes", self._boxes), ("classes", self._classes)):
            if value:
                entry[name] = plain(getattr(value, "classes", value), "boxes")
        if self._masks:
            entry["masks"] = {key_text(name): _mask(mask, media) for name, mask in self._masks.items()}
        return entry


def _mask(mask, media):
    data = mask.get("mask_data")
    file = mask.get("path") if data is None else images.Image(images.array_of(data).astype("uint8"))
    file = images.Image(file) if data is None else file
    return {"file": media.write(*file.encoded()),
            "class_labels": plain(mask.get("class_labels") or {}, "masks")}


class Classes:
    """The names of classes: [{"id": 0, "name": "cat"}]."""

    def __init__(self, class_set=()):
        self.classes = class_set


class Histogram(Medium):
    """How many values lie in each of at most 64 bins. sequence: numbers, array or tensor; or np_histogram:
    (counts, edges)."""

    type = "histogram"

    def __init__(self, sequence=None, np_histogram=None, num_bins=BINS):
        histogram, self._error = attempt(self._counted, sequence, np_histogram, num_bins)
        self.histogram, self.bins = histogram or ([], [])

    @staticmethod
    def _counted(sequence, ready, number):
        if ready is not None:
            counts, edges = ([*map(float, numbers)] for numbers in ready)
            return [int(count) if count == int(count) else count for count in counts], edges
        return counted(sequence, max(1, min(int(number), 512)))

    def entry(self, media):
        """Return {"bins": edges, "counts": one fewer}."""
        if self._error is not None:
            raise self._error
        return {"bins": self.bins, "counts": self.histogram}


def counted(values, number):
    """Return (counts, edges) of numbers, as numpy.histogram has them; NaN and the infinities are left out."""
    values, numpy = images.array_of(values), sys.modules.get("numpy")
    if numpy is not None:
        values = numpy.asarray(values, dtype=float).ravel()
        counts, edges = numpy.histogram(values[numpy.isfinite(values)], bins=number)
        return counts.tolist(), edges.tolist()
    values = [value for value in map(float, _deep(values)) if value - value == 0]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = [low + (high - low) * index / number for index in range(number)] + [high]
    counts = [0] * number
    for value in values:
        index = min(int((value - low) / (high - low) * number), number - 1)
        counts[index + (value >= edges[index + 1] and index + 1 < number) - (value < edges[index])] += 1
    return counts, edges


def _deep(values):
    values = values.tolist() if hasattr(values, "tolist") else values
    for value in values if isinstance(values, (list, tuple)) else [values]:
        if isinstance(value, (list, tuple)):
            yield from _deep(value)
        else:
            yield value


class _File(Medium):
    """A medium that is a file already, or bytes or text of one."""

    ending = "bin"

    def __init__(self, data_or_path=None, caption=None, **unknown):
        self.data, self.caption = data_or_path, None if caption is None else key_text(caption)

    def encoded(self):
        """Return (bytes, ending of the name)."""
        data, ending = self.data, self.ending
        if isinstance(data, os.PathLike) or isinstance(data, str) and self.is_path(data):
            ending = os.path.basename(os.fspath(data)).partition(".")[2] or ending
            with open(data, "rb") as file:
                return file.read(), ending
        if callable(getattr(data, "read", None)):
            attempt(data.seek, 0)
            data = data.read()
        data = self.made(data)
        return (data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)), ending

    def is_path(self, text):
        """Whether a text names a file."""
        return True

    def made(self, data):
        """Return bytes or text of what was given. Raises TypeError."""
        if isinstance(data, (bytes, bytearray, memoryview, str)):
            return data
        raise TypeError(f"{type(data).__name__} is no {self.type}")


class Html(_File):
    """A page: its text, a path, or a file that is open. It is kept; nothing of it is run by our pages."""

    type, ending = "html", "html"

    def __init__(self, data=None, inject=True, data_is_not_path=False, **unknown):
        super().__init__(data)
        self._is_text = data_is_not_path

    def is_path(self, text):
        return not self._is_text and len(text) < 1000 and "<" not in text and os.path.isfile(text)


class Audio(_File):
    """Sound: a path, or samples (array or list, n or n x channels; floats from -1 to 1, or 16-bit ints),
    written as WAV."""

    type, ending = "audio", "wav"

    def __init__(self, data_or_path=None, sample_rate=None, caption=None, **unknown):
        super().__init__(data_or_path, caption)
        self._rate = sample_rate

    def made(self, data):
        if isinstance(data, (bytes, bytearray)):
            return data
        import array
        import wave
        data = images.array_of(data)
        rows = data.tolist() if hasattr(data, "tolist") else list(data)
        channels = len(rows[0]) if rows and isinstance(rows[0], (list, tuple)) else 1
        samples = [*_deep(rows)]
        scale = 32767 if any(isinstance(sample, float) for sample in samples) else 1
        pcm = array.array("h", (int(max(-32768, min(32767, sample * scale))) for sample in samples))
        if sys.byteorder == "big":
            pcm.byteswap()
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setnchannels(channels)
            sound.setsampwidth(2)
            sound.setframerate(int(self._rate or 22050))
            sound.writeframes(pcm.tobytes())
        return file.getvalue()


class Video(_File):
    """A film: a path or bytes as they are, or an array (frames x channels x height x width, uint8), written
    as an animated PNG."""

    type = "video"

    def __init__(self, data_or_path=None, caption=None, fps=None, format=None, **unknown):
        super().__init__(data_or_path, caption)
        self._fps, self.ending = fps or 4, format or "gif"

    def encoded(self):
        data = images.array_of(self.data)
        if not hasattr(data, "astype"):
            return super().encoded()
        if len(data.shape) == 5:                        # a batch: side by side
            batch, frames, channels, height, width = data.shape
            data = data.transpose(1, 2, 3, 0, 4).reshape(frames, channels, height, batch * width)
        if len(data.shape) != 4:
            raise TypeError(f"an array of shape {tuple(data.shape)} is no video")
        return animated([Image(frame).encoded()[0] for frame in data], float(self._fps)), "png"


def animated(frames, rate):
    """Return an animated PNG (bytes; W3C PNG specification, third edition, 11.3.6) of PNG files of one size.
    rate: frames a second."""
    head, number, parts = frames[0][8:33], 0, [images.chunk(b"acTL", struct.pack(">II", len(frames), 0))]
    width, height = struct.unpack(">II", head[8:16])
    for index, frame in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, max(1, round(1000 / rate)), 1000, 0,
                              0)
        data = frame[41:41 + struct.unpack(">I", frame[33:37])[0]]              # its only IDAT
        parts.append(images.chunk(b"fcTL", control))
        parts.append(images.chunk(b"IDAT", data) if index == 0
                     else images.chunk(b"fdAT", struct.pack(">I", number + 1) + data))
        number += 1 if index == 0 else 2
    return frames[0][:8] + head + b"".join(parts) + images.chunk(b"IEND", b"")


class Object3D(_File):
    """A model or a cloud of points: a path, a file that is open, an array of points, or W&B's dict."""

    type, ending = "object3d", "pts.json"

    def made(self, data):
        return data if isinstance(data, (bytes, str)) else json.dumps(plain(_listed(data), "Object3D"))

    def is_path(self, text):
        return len(text) < 4096 and os.path.isfile(text)

    @classmethod
    def from_file(cls, data_or_path, file_type=None):
        """Make one of a file."""
        return cls(data_or_path)

    from_numpy = from_file

    @classmethod
    def from_point_cloud(cls, points=(), boxes=(), vectors=None, point_cloud_type="lidar/beta"):
        """Make one of points and boxes."""
        return cls({"type": point_cloud_type, "points": _listed(points), "boxes": _listed(boxes),
                    "vectors": _listed(vectors or ())})


def _listed(value):
    value = images.array_of(value)
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


class Molecule(Object3D):
    """A molecule: a path, or its text."""

    type, ending = "molecule", "pdb"

    @classmethod
    def from_smiles(cls, data, caption=None, *args, **kwargs):
        """Make one of its SMILES text, which is kept as it is."""
        return cls(str(data), caption)

    from_rdkit = from_smiles


class Plotly(_File):
    """A figure of plotly, kept as its JSON; one of matplotlib as an image."""

    type, ending = "plotly", "plotly.json"

    def __init__(self, val=None, **unknown):
        super().__init__(val)

    def made(self, data):
        return (data.to_json() if callable(getattr(data, "to_json", None))
                else json.dumps(plain(data, "Plotly")))

    @classmethod
    def make_plot_media(cls, val):
        """Return the medium for a figure."""
        return Image(val) if hasattr(val, "savefig") else cls(val)


class Bokeh(Plotly):
    """A document of bokeh, kept as its JSON."""

    type, ending = "bokeh", "bokeh.json"


class Graph(Medium):
    """A model's graph, which is not kept."""

    type, format = "graph", "keras"

    def __init__(self, *args, **kwargs):
        self.nodes, self.edges = [], []

    def add_node(self, node=None, **more):
        """Nothing is kept."""
        return node

    add_edge = add_node

    @classmethod
    def from_keras(cls, model):
        """Nothing is kept."""
        return cls()


def box3d(**facts):
    """Return a box for Object3D (dict)."""
    return {key: _listed(value) for key, value in facts.items() if value is not None}


def __getattr__(name):
    from runicorn.wandb.aliases import attribute
    return attribute(name, "data_types")
