"""Bytes of small JSON files as the list of a server told them: of which files they may be believed, so that
these are not fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn.mirror import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runicorn.mirror.remote_index import Key, RemoteIndex
    from runicorn.mirror.unsettled import Moment, Unsettled


class Contents:
    """What the list told of runs' small files in this session. Asks no server."""

    def __init__(self, index: RemoteIndex, unsettled: Unsettled, is_wrong: Callable[[Key], bool]) -> None:
        """index: remote_index.RemoteIndex; unsettled: unsettled.Unsettled; is_wrong((run path, name)):
        whether a file turned out to be another than was told."""
        self._index, self._unsettled, self._is_wrong = index, unsettled, is_wrong
        # Run path -> Moment at which python3 on the server read what its line tells
        self._read_at = {}
        # Run path -> when the manifest file that spoke of it was made (Unix s)
        self._made_at = {}

    def take_look(self, paths: Iterable[str], began: Moment) -> None:
        """python3 on the server told of the runs `paths` in a look that began at the Moment `began`."""
        self._read_at.update(dict.fromkeys(paths, began))

    def take_manifest(self, paths: Iterable[str], made_at: float) -> None:
        """A manifest file made at `made_at` (Unix s) told of the runs `paths`, whose files it had looked
        at."""
        self._made_at.update(dict.fromkeys(paths, made_at))

    def proven(self, fetch):
        """Return (the bytes of a Fetch's file, the Moment at which they were read) where python3 there told
        them, else None."""
        began = self._read_at.get(fetch.path)
        if (began is None or not self._is_telling(fetch)
                or not self._unsettled.is_settled((fetch.path, fetch.name), fetch.mtime, began)):
            return None                 # it may have changed since in the same second
        data = self._index.content(fetch)
        return None if data is None else (data, began)

    def unproven(self, fetch):
        """Return the bytes of a Fetch's file where a manifest file told them, else None. They are the
        server's so long as an LSTAT shows the same size and mtime, however wrong the clocks are: it changed
        long before the manifest was made."""
        made_at = self._made_at.get(fetch.path)
        return (self._index.content(fetch) if made_at is not None and self._is_telling(fetch)
                and fetch.mtime < made_at - plan.SKEW else None)

    def _is_telling(self, fetch):
        return (fetch.whole and fetch.mtime is not None and fetch.path in self._index
                and not self._is_wrong((fetch.path, fetch.name)))
