"""Text with half a UTF-16 pair in it, which JSON and file names may hold and UTF-8 may not: shown by its
escape."""

import re

LONE = re.compile("[\ud800-\udfff]")


def visible(text):
    r"""Return `text` as it may be sent, printed and asked for: "\xff" for a byte that is no UTF-8, "\ud800"
    for half a pair."""
    return text if text.isascii() else LONE.sub(_escape, text)


def encode_json(text):
    """Return JSON text (str) as UTF-8, what is in its strings as `visible` has it."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return LONE.sub(lambda match: "\\" + _escape(match), text).encode("utf-8")


def exact_json(text):
    r"""Return JSON text (str) as UTF-8 that is read back as it was: half a pair by JSON's own escape,
    "\ud800"."""
    return LONE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8")


def _escape(match):
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
