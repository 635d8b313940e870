"""The settings of a training in a YAML file beside its metrics: Lightning's hparams.yaml, YOLO's args.yaml.
No YAML package is needed.

What `yaml.dump` writes of plain values is read: mappings in mappings, lists, texts in quotes or over several
lines, numbers, booleans, null (YAML 1.1, but `1e-05` is a number). What only Python could make an object of
(`!!python/…`) stays as the text it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

NAMES = ("hparams.yaml", "args.yaml", "opt.yaml")
LIMIT = 1 << 20             # bytes of a file that is read
ITEMS = 10_000              # of all mappings and lists together
DEPTH = 16
BLANK = " \t\r\n"
TEXT = 10_000               # characters of a value
KEY = re.compile(r"(\"(?:[^\"\\]|\\.){0,200}\"|'(?:[^']|''){0,200}'|"
                 r"(?:[^\s#\-\[\]{},\"'!&*|>%@`?:]|[?:-](?=\S))(?:[^:\n#]|:(?!\s|$)|(?<!\s)#){0,199}?)\s*:(?=\s|$)")
INT = re.compile(r"[-+]?(?:0|[1-9][\d_]{0,4000})")
FLOAT = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'", re.DOTALL)
# An apostrophe within a word opens nothing
WITHIN = re.compile(rf"(?<![^\[{{,:\s])(?:{QUOTED.pattern})", re.DOTALL)
OPENING = re.compile(r"[\[{,:\s][\"']")
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "null": None,
         "~": None, "": None, ".nan": float("nan"), ".inf": float("inf"), "+.inf": float("inf"),
         "-.inf": float("-inf")}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "b": "\b", "a": "\a", "f": "\f",
           "v": "\v", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)


def is_kind(name, head):
    """Whether a file is the settings of a training: `name` (str), and `head`, its first bytes."""
    return name in NAMES and b"\0" not in head


def config(content: bytes) -> dict[str, Any]:
    """Return the settings (dict of plain JSON values, NaN among them) in the bytes of a file; {} if they are
    none. Never raises."""
    if len(content) > LIMIT:
        return {}
    lines = []
    for line in content.decode("utf-8", "replace").lstrip("\ufeff").split("\n"):
        text = line.strip(" \t\r")
        if text.startswith(("---", "%")) and not lines or text == "...":
            continue
        lines.append((len(line) - len(line.lstrip(" ")), text))
    value = _Block(lines).value(0, 0)
    return value if type(value) is dict else {}


class _Block:
    """Lines of a file as (indent, text), read from the first to the last."""

    def __init__(self, lines):
        self._lines, self._position, self._items = lines, 0, 0

    def _next(self):
        while self._position < len(self._lines) and self._lines[self._position][1][:1] in ("", "#"):
            self._position += 1
        return self._lines[self._position] if self._position < len(self._lines) else (-1, "")

    def value(self, indent, depth):
        """Return the mapping or list that begins at the next line, with at least `indent` blanks before
        it."""
        begin, text = self._next()
        if begin < indent or depth > DEPTH:
            return None
        if text == "-" or text.startswith("- "):
            return self._list(begin, depth)
        return self._mapping(begin, depth) if KEY.match(text) else self._scalar(self._take(), begin)

    def _take(self):
        self._position += 1
        return self._lines[self._position - 1][1]

    def _mapping(self, indent, depth):
        mapping = {}
        while self._items < ITEMS:
            begin, text = self._next()
            match = KEY.match(text) if begin == indent else None
            if match is None:
                if begin <= indent and (begin < indent or text == "-" or text.startswith("- ")) or begin < 0:
                    return mapping
                # Of nothing that is known here: only itself is lost
                self._position += 1
                continue
            self._items += 1
            self._position += 1
            mapping[_key(match[1])] = self._content(text[match.end():].strip(BLANK), indent, depth)
        return mapping

    def _list(self, indent, depth):
        items = []
        while self._items < ITEMS:
            begin, text = self._next()
            if begin != indent or not (text == "-" or text.startswith("- ")):
                return items
            self._items += 1
            content = text[1:].lstrip(" \t")
            shift = len(text) - len(content)
            if KEY.match(content) or content.startswith("- "):
                # What follows the dash is a block of its own
                self._lines[self._position] = (indent + shift, content)
                items.append(self.value(indent + 1, depth + 1))
            else:
                self._position += 1
                items.append(self._content(content, indent, depth))
        return items

    def _content(self, content, indent, depth):
        """Return what stands behind a key or a dash: `content` of the line and the lines that are further
        in."""
        if re.match(r"[&!]", content):                     # an anchor or a tag: its value is what is of use
            tag, _, content = content.partition(" ")
            if not content.strip() and tag.startswith("!!python/"):
                value = self._content("", indent, depth)
                return value if tag == "!!python/tuple" else tag[2:TEXT]
        content = content.strip(BLANK)
        if content and content[0] in "|>":
            return self._literal(content, indent)
        if content and not content.startswith("#"):
            return self._scalar(content, indent + 1)
        begin, text = self._next()
        if begin > indent or begin == indent and (text == "-" or text.startswith("- ")):
            return self.value(begin, depth + 1)
        return None

    def _scalar(self, text, indent):
        """Return the value of `text` with the lines that go on with it: quotes and brackets that are not
        closed, text further in."""
        blanks = 0
        while self._position < len(self._lines) and len(text) < TEXT and _is_open(text):
            begin, more = self._lines[self._position]
            if more and (begin < indent or text[0] not in "\"'[{" and (more[0] == "#" or KEY.match(more))):
                break
            self._position += 1
            if not more:
                blanks += 1
                continue
            if text[0] in '"[{' and not blanks and (len(text) - len(text.rstrip("\\"))) % 2:
                text = text[:-1] + more
            else:
                text += ("\n" * blanks or " ") + more
            blanks = 0
        return scalar(text)

    def _literal(self, mark, indent):
        lines, least = [], None
        while self._position < len(self._lines):
            begin, text = self._lines[self._position]
            if text and begin <= indent:
                break
            least = begin if least is None and text else least
            lines.append(" " * max(0, begin - (least or 0)) + text if text else "")
            self._position += 1
        joined = "\n".join(lines).rstrip("\n") if mark[0] == "|" else " ".join(lines).strip()
        return (joined + ("" if "-" in mark else "\n"))[:TEXT]


def _is_open(text):
    if text[0] == '"':
        return not re.fullmatch(r'"(?:[^"\\]|\\.)*"(?:\s*#.*)?', text, re.DOTALL)
    if text[0] == "'":
        return not re.fullmatch(r"'(?:[^']|'')*'(?:\s*#.*)?", text, re.DOTALL)
    if text[0] in "[{":
        text = WITHIN.sub("_", text)
        return (OPENING.search(text) is not None
                or text.count("[") + text.count("{") > text.count("]") + text.count("}"))
    return True                                         # plain text goes on while lines are further in


def _key(text):
    return str(scalar(text)) if text[:1] in ("'", '"') else text.strip(BLANK)


def scalar(text):
    """Return the value of one scalar or flow collection as YAML writes it."""
    text = text.strip(BLANK)[:TEXT]
    if text[:1] == '"':
        return ESCAPE.sub(_unescaped, text[1:].rpartition('"')[0] or text[1:])
    if text[:1] == "'":
        return (text[1:].rpartition("'")[0] or text[1:].rstrip("'")).replace("''", "'")
    if text[:1] in ("[", "{"):
        return _flow(text)[0]
    text = re.sub(r"\s+#.*", "", text)
    if text.lower() in WORDS and (text.islower() or text.istitle() or text.isupper() or not text.isalpha()):
        return WORDS[text.lower()]
    if INT.fullmatch(text):
        return int(text.replace("_", ""))
    if FLOAT.fullmatch(text) and re.search(r"\d", text) and not re.fullmatch(r"[-+]?0\d+", text):
        return float(text.replace("_", ""))
    return text


def _unescaped(match):
    code = match[1] or match[2] or match[3]
    if code:
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else match[0]
    return ESCAPES.get(match[4], match[4])


def _flow(text, position=0, depth=0):
    """Return (value, end) of the flow collection of `text` at `position`: [1, 2] or {a: 1}; the text itself
    if it is none."""
    is_list, items, key, begin = text[position] == "[", [], None, position + 1
    index = begin
    while index < len(text) and depth < DEPTH and len(items) < ITEMS:
        character = text[index]
        if character in "[{" and not text[begin:index].strip(BLANK):
            value, index = _flow(text, index, depth + 1)
            items.append((key, value))
            key, begin = None, index
            while begin < len(text) and text[begin] in " \t":
                begin += 1
            index = begin
            if begin < len(text) and text[begin] == ",":
                index = begin = begin + 1
            continue
        if character in "\"'" and not text[begin:index].strip(BLANK):
            match = QUOTED.match(text, index)
            index = match.end() if match else len(text)
            continue
        if (character == ":" and not is_list and key is None
                and text[index + 1:index + 2] in ("", " ", "[", "{", '"', "'")):
            key, begin = _key(text[begin:index].strip(BLANK)), index + 1
        elif character in ",]}":
            if text[begin:index].strip(BLANK) or key is not None:
                items.append((key, scalar(text[begin:index])))
            key, begin = None, index + 1
            if character in "]}":
                pairs = {name: value for name, value in items if name is not None}
                return ([value for _, value in items] if is_list else pairs), index + 1
        index += 1
    return text[position:], len(text)
