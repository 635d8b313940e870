"""The files of a run, for the pages: what there is, and one of them opened without ever leaving the run's
folder."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from runicorn import layout, local_disk, local_names
from runicorn.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

SMALL_LIMIT = 1 << 20       # bytes; what "small" means in the connection's settings unless they say otherwise
MOST = 10_000               # files listed of one run
DEPTH = 8
IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
          ".webp": "image/webp", ".bmp": "image/bmp"}
BLOCK = 256 << 10


class Opened:
    """A regular file opened for reading: iterate over its bytes, at most `size` as it was when opened."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size, self._remaining = size, size
        self._file = os.fdopen(descriptor, "rb", buffering=0)

    def __iter__(self):
        return self

    def __next__(self):
        block = self._file.read(min(BLOCK, self._remaining)) if self._remaining else b""
        if not block:
            raise StopIteration
        self._remaining -= len(block)
        return block

    def close(self) -> None:
        self._file.close()


def listed(folder, indexed=None, places=None, left_out=None, same=None, complete=True, only=None):
    """Return ([{"name", "size", "mtime", "here", "kind", "why"?, "copy"?}] of a run's files, sorted by name,
    how many more are here).

    The run's own files are always in it, of others so many that MOST are.

    folder: the run's folder here; indexed: {name: {"size", "mtime"}} of what the server has, which need not
    be here; places: {name: its name in the folder} where that is another; left_out: {name: why it is not
    fetched}, as left_out.read has it ("why", also of one that is here as it was read before); same: {name:
    whether our copy is what the server had}. "copy" is then "same", "changed", or "gone" of what the server
    has not any more: "unseen" if `indexed` is not the `complete` of what is there. only: the names of the
    files that are the run's, where its folder has others, too.
    """
    indexed, names, why = (indexed or {}, {local_path: name for name, local_path in (places or {}).items()},
                           left_out or {})
    files = {name: {"name": name, "size": item["size"], "mtime": item["mtime"], "here": False,
                    "kind": kind(name, item["size"])} for name, item in indexed.items()}
    more = 0
    depth = DEPTH if only is None else max((name.count("/") for name in only), default=0)
    for local_path, item in _walk(os.fspath(folder), "", DEPTH - depth):
        name = names.get(local_path, local_path)
        if only is not None and name not in only:
            continue
        if len(files) >= MOST and name not in files and not local_names.is_own(name):
            more += 1
            continue
        try:
            status = item.stat(follow_symlinks=False)
        except OSError:
            continue        # gone since it was listed
        size = indexed[name]["size"] if name in indexed else 0
        files[name] = {"name": name, "size": max(status.st_size, size), "mtime": status.st_mtime,
                       "here": status.st_size >= size, "kind": kind(name, status.st_size)}
    for name in why:
        if name.endswith("/"):              # a folder of it that may not be listed
            files[name] = {"name": name, "size": 0, "mtime": None, "here": False, "kind": "small",
                           "why": why[name]}
    for name in why.keys() & files.keys():
        files[name]["why"] = why[name]
    for name in files if same is not None else ():
        if files[name]["here"]:
            files[name]["copy"] = (("gone" if complete else "unseen") if name not in indexed else "same"
                                   if same.get(name) else "changed")
    return [files[name] for name in sorted(files)], more


def kind(name: str, size: int) -> str:
    """Return "own", "media", "small" or "large"."""
    if local_names.is_own(name):
        return "own"
    if name.startswith("media/"):
        return "media"
    return "small" if size <= SMALL_LIMIT else "large"


def image_type(name):
    """Return the media type of an image by its file's name, or None if it is none that a browser shows."""
    return IMAGES.get(os.path.splitext(name)[1].lower())


def _walk(folder, prefix, depth):
    try:
        with local_disk.scandir(folder) as items:
            entries = sorted(items, key=lambda item: (prefix != "" or not local_names.is_own(item.name),
                                                      item.name))
    except OSError:
        return              # not here, or not ours to read: nothing to list
    for item in entries:
        if item.is_file(follow_symlinks=False):
            if not item.name.endswith(layout.BESIDE):
                yield prefix + item.name, item
        elif item.is_dir(follow_symlinks=False) and depth < DEPTH:
            yield from _walk(item.path, prefix + item.name + "/", depth + 1)


def opened(folder: Path, name: str) -> Opened:
    """Return the Opened file `name` (relative, "/") below `folder`, following no symbolic link anywhere below
    it.

    Raises LayoutError for a path that could leave the folder, NotFoundError for what is no regular file
    there.
    """
    parts = local_names.safe_relative(name).split("/")
    try:
        descriptor = _descend(os.fspath(folder), parts)
    except OSError as error:
        raise NotFoundError(f"the run has no file {name[:200]!r} here") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotFoundError(f"{name[:200]!r} is no plain file")
    return Opened(descriptor, status.st_size)


def _descend(folder, parts):
    """Open the file step by step, each relative to the last folder's descriptor, so that no link can be
    slipped in between."""
    flags = os.O_RDONLY
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):         # not every system has each
        flags |= getattr(os, name, 0)
    if os.open not in os.supports_dir_fd:
        for depth in range(1, len(parts) + 1):          # Windows: each part is looked at
            path = local_names.inside(folder, "/".join(parts[:depth]))
            if local_disk.is_link(path):
                raise NotFoundError(f"{path} is a link, which is not followed")
        return layout.open_regular(local_disk.reach(path), flags)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, flags | os.O_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        return os.open(parts[-1], flags, dir_fd=descriptor)
    finally:
        os.close(descriptor)
