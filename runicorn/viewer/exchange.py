"""What a route is asked and what it may answer: queries, JSON bodies, JSON and streamed answers, errors as
JSON. Knows no web framework."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING, NamedTuple

from runicorn import errors, layout
from runicorn.surrogates import encode_json

if TYPE_CHECKING:
    from typing import Any


BODY_LIMIT = 1 << 20        # bytes of a JSON body; the largest we expect is a page's saved layout
LARGEST = 1e300             # of a number in a query; an infinity is none
DEPTH_LIMIT = 32            # nesting of a JSON body
GZIP_FROM = 1024            # bytes; below this gzip costs more than it saves
# status, code of each error that a route may raise; the first that fits counts
STATUSES = ((errors.AmbiguousError, 409, "ambiguous"), (errors.FilterError, 400, "filter"),
            (errors.NotFoundError, 404, "not_found"), (errors.UsageError, 400, "usage"),
            (errors.LayoutError, 400, "path"), (errors.DataError, 422, "data"),
            (errors.BusyError, 409, "busy"), (errors.MissingPackageError, 501, "missing_package"),
            (errors.SettingsError, 500, "settings"), (errors.LoginError, 502, "login"),
            (errors.HostKeyError, 502, "host_key"), (errors.LineError, 502, "line"),
            (errors.RemoteError, 502, "remote"), (errors.SyncError, 500, "sync"),
            (errors.RunicornError, 500, "failed"),)


class Refused(errors.RunicornError):
    """A request that is not answered, with its HTTP status and a stable code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, code)
        self.status = status


class Answer(NamedTuple):
    """What goes back. body: bytes, pieces.Pieces, or an iterable of bytes that is sent as it comes."""

    body: object
    type: str = "application/json"
    status: int = 200
    headers: dict = {}


class Ask:
    """One request. query: [(name, value)]; read: function() -> body bytes, at most BODY_LIMIT."""

    def __init__(self, method, query, headers, read):
        self.method, self.query, self.headers, self._read = method, query, headers, read

    def all(self, name: str, plural: str | None = None) -> list[str]:
        """Return every value of a parameter (list of str); `plural` names the form that holds several between
        commas."""
        values = [value for key, value in self.query if key == name]
        for key, value in self.query if plural else ():
            values += [item for item in value.split(",") if item] if key == plural else []
        return values

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a parameter (str)."""
        values = self.all(name)
        return values[-1] if values else default

    def number(self, name, default=None, low=None, high=None, integral=False):
        """Return a numeric parameter within its bounds (float, or int if whole). Raises UsageError if it is
        no number."""
        text = self.text(name)
        if not text:
            return default
        try:
            value = int(text) if integral else float(text)
        except ValueError as error:
            raise errors.UsageError(f"{name} is {text[:100]!r}; it must be a "
                                    f"{'whole ' if integral else ''}number") from error
        if not -LARGEST < value < LARGEST:
            raise errors.UsageError(f"{name} is {text[:100]!r}; it must be a number below {LARGEST:g}")
        return value if low is None else max(low, min(high, value))

    def numbers(self, name, plural, low, high):
        """Return every value of a parameter as whole numbers within their bounds (list of int). Raises
        UsageError."""
        return [Ask("", [(name, text)], {}, None).number(name, None, low, high, integral=True)
                for text in self.all(name, plural) if text]

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("1", "true", "yes")

    def json(self) -> dict[str, Any]:
        """Return the body (dict). Raises Refused for anything that is no small, shallow JSON object."""
        try:
            value = json.loads(self._read() or b"{}")
        except (ValueError, RecursionError) as error:
            raise Refused(400, "body", "the body is not JSON") from error
        if not isinstance(value, dict):
            raise Refused(400, "body", "the body must be a JSON object")
        if _deeper(value, DEPTH_LIMIT):
            raise Refused(400, "body", f"the body is nested deeper than {DEPTH_LIMIT}")
        return value


def _deeper(value, limit):
    level = [value]
    for _ in range(limit):
        inner = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
        level = [item for item in inner if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def to_json(value: dict[str, Any], status: int = 200, headers: Any = None) -> Answer:
    """Return the Answer for a JSON value; NaN, infinities and halves of UTF-16 pairs become strings."""
    return Answer(encode_json(layout.to_json(value) + "\n"), "application/json", status, headers or {})


def to_error(error: Any) -> Answer:
    """Return the Answer for an error of ours, as `refusal` tells it."""
    return to_json(*refusal(error))


def refusal(error: Any) -> tuple[dict[str, Any], int]:
    """Return ({"error": code, "message": text, …}, the status) of an error of ours."""
    status, code = next((status, code) for kind, status, code in STATUSES if isinstance(error, kind))
    refused = isinstance(error, Refused)
    body = {"error": error.code or code, "message": str(error)}
    for extra in ("candidates", "at"):
        if hasattr(error, extra):
            body[extra] = getattr(error, extra)
    if error.code and not refused:
        body["values"] = error.values
    return body, error.status if refused else status


def begun(blocks):
    """Return `blocks` (iterator of bytes) with the first already made, so that what is wrong from the start
    is answered as an error."""
    blocks = iter(blocks)
    return _Begun(next(blocks, b""), blocks)


class _Begun:
    """An iterator whose first item is known. Closed when the client left, it closes what it iterates over."""

    def __init__(self, first_block, blocks):
        self._blocks, self._items = blocks, itertools.chain([first_block], blocks)

    def __iter__(self):
        return self._items

    def close(self):
        getattr(self._blocks, "close", bool)()


def zipped(body: bytes, level: int = 1) -> bytes:
    """Return `body` (bytes) as gzip, at the level that costs least unless it is sent more than once."""
    return gzip.compress(body, level)
