"""Media a run logs: what they have in common, and images, from a file, bytes, PIL or numpy to a file under
`media/`. Writes PNG itself, so a server needs no PIL."""

import os
import struct
import zlib

from runicorn.writer.values import key_text

KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"),
         (b"BM", "bmp"))
MODES = {1: 0, 2: 4, 3: 2, 4: 6}       # channels -> PNG colour type: grey, grey + alpha, RGB, RGBA


class Medium:
    """What `log` takes that is no number or text. type: the "type" of its row in events.jsonl."""

    type, caption = "image", None

    def entry(self, media):
        """Return what its row says of it (JSON value), its files written with `media` (Media). Raises
        TypeError, ValueError, OSError."""
        return media.keep(self)

    def encoded(self):
        """Return (bytes of a file, its ending). Raises TypeError, ValueError or OSError for what can't be
        one."""
        raise TypeError(f"a {type(self).__name__} has no file")


class Image(Medium):
    """An image to log: `run.log({"samples": runicorn.Image(array, caption="epoch 3")})`, also a list of them.

    data: a path, bytes of an image file, a PIL image, a matplotlib figure, or an array or tensor: height x
    width, height x width x 1 to 4 channels, or channels x height x width; uint8, or floats from 0 to 1.
    caption: str. Raises nothing here; what can't be read is named when it is logged, and left out.
    """

    def __init__(self, data, caption=None, **unknown):
        self.data, self.caption = data, None if caption is None else key_text(caption)

    def encoded(self):
        """Return (bytes of an image file, its ending). Raises TypeError, ValueError or OSError for what is no
        image."""
        data = self.data
        if isinstance(data, (str, os.PathLike)):
            with open(data, "rb") as file:
                data = file.read()
        if isinstance(data, (bytes, bytearray, memoryview)):
            data = bytes(data)
            for start, ending in KINDS:
                if data.startswith(start) and (ending != "webp" or data[8:12] == b"WEBP"):
                    return data, ending
            raise ValueError("bytes that are no PNG, JPEG, GIF, WebP or BMP")
        if callable(getattr(data, "savefig", None)):
            return _saved(data.savefig), "png"
        if callable(getattr(data, "save", None)) and hasattr(data, "mode"):
            return _saved(data.save), "png"
        return png(*_pixels(data)), "png"


def _saved(save):
    import io
    file = io.BytesIO()
    save(file, format="png")
    return file.getvalue()


def array_of(value):
    """Return a torch tensor, which may be on a GPU and have a gradient, as an array; anything else as it
    is."""
    if not callable(getattr(value, "numpy", None)):
        return value
    for method in ("detach", "cpu"):
        if callable(getattr(value, method, None)):
            value = getattr(value, method)()
    if str(getattr(value, "dtype", "")).endswith("bfloat16"):       # which numpy has not
        value = value.float()
    return value.numpy()


def _pixels(array):
    """Return (rows of bytes, width, height, channels) of an array or tensor."""
    array = array_of(array)
    shape = getattr(array, "shape", None)
    if shape is None or not hasattr(array, "astype") or len(shape) not in (2, 3):
        raise TypeError(f"{type(array).__name__} of shape {tuple(shape) if shape is not None else '?'} is "
                        f"no image")
    if len(shape) == 3 and shape[2] not in MODES and shape[0] in MODES:
        array = array.transpose(1, 2, 0)                # torch's order
    height, width = array.shape[:2]
    channels = array.shape[2] if len(array.shape) == 3 else 1
    if channels not in MODES or not height or not width:
        raise TypeError(f"an array of shape {tuple(shape)} is no image")
    if array.dtype.kind == "f":
        array = (array.clip(0, 1) * 255).round()
    elif array.dtype.kind == "b":
        array = array * 255
    raw = array.clip(0, 255).astype("uint8").tobytes()
    line = width * channels
    return [raw[start:start + line] for start in range(0, len(raw), line)], width, height, channels


def png(rows, width, height, channels):
    """Return a PNG file (bytes) of 8-bit rows (W3C PNG specification, third edition: chunks in section 5,
    filter 0 in 9)."""
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    header = struct.pack(">IIBBBBB", width, height, 8, MODES[channels], 0, 0, 0)
    return KINDS[0][0] + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def type_of(value):
    """Return the type of a Medium, or of a list of nothing but Media of one type; None for anything else."""
    if isinstance(value, (list, tuple)):
        types = {item.type if isinstance(item, Medium) else None for item in value}
        return types.pop() if len(types) == 1 else None
    return value.type if isinstance(value, Medium) else None


class Media:
    """The `media/` folder of a run: numbered files, never one over another."""

    def __init__(self, folder, prefix="", masked=lambda value: value):
        """folder: the run's (Path). prefix: of the names, where several ranks write into one folder. masked:
        what makes of a value what is written of it."""
        self._folder, self._prefix, self._count, self.masked = folder / "media", prefix, 0, masked

    def keep(self, medium):
        """Write one Medium; returns {"file": "media/000001.png", "caption"?}. Raises TypeError, ValueError,
        OSError."""
        file = self.write(*medium.encoded())
        return dict({"file": file}, **({} if medium.caption is None else {"caption": medium.caption}))

    def write(self, data, ending):
        """Write a file of `data` (bytes), its name ending in `ending` (str); returns "media/000001.png".
        Raises OSError."""
        self._folder.mkdir(exist_ok=True)
        while True:
            self._count += 1
            name = f"{self._prefix}{self._count:06d}.{ending}"
            try:
                with open(self._folder / name, "xb") as file:
                    file.write(data)
            except FileExistsError:         # of an earlier attempt
                continue
            return f"media/{name}"
