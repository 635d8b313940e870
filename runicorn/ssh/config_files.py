"""The files of ~/.ssh/config, with Include, as blocks under the conditions of their Host and Match lines,
found by host. Decides no option.

Thousands of hosts are looked up one after the other: each reads the blocks only that may apply to it, found
by the plain names and by the beginnings and ends of the patterns on Host and Match lines. Format:
ssh_config(5).
"""

import collections
import functools
import getpass
import glob
import heapq
import os
import re
from pathlib import Path

from runicorn import layout, local_disk
from runicorn.errors import UsageError
from runicorn.ssh import local

DEPTH = 16                  # OpenSSH's own limit on nested Include
MANY = {"identityfile", "certificatefile"}      # keywords whose values add up; of others the first counts
WHOLE = {"proxycommand", "knownhostscommand"}   # keywords whose value is the rest of the line, quotes and all
SYSTEM_CONFIG = local.system_file("ssh_config")
PATTERN = re.compile(r"[*?!]")
KEYWORD, MARKS = re.compile(r"(\w+)(?:\s*=\s*|\s+)"), re.compile(r"""["'\\#]""")

Block = collections.namedtuple("Block", "condition lines")
Block.__doc__ = """What stands between two lines that switch: condition: the Condition it stands under, None
where that is always; lines: [(lower-case keyword, values)]."""


class Condition:
    """A Host or Match line ("host", "match"), with its values; above: the Condition under which its file was
    included, or None."""

    def __init__(self, keyword, values, path, above):
        self.keyword, self.values, self.path, self.above = keyword, values, path, above
        self.has_include = False        # whether files are included under it

    @functools.cached_property
    def names(self):
        """The patterns of a Host line (Patterns)."""
        return Patterns(self.values)

    @functools.cached_property
    def criteria(self):
        """[(criterion, whether it is negated, its value or None)] of a Match line. Raises UsageError."""
        words, criteria = list(self.values), []
        while words:
            word, equals, value = words.pop(0).partition("=")
            words[:0] = [value] if value else []                        # host=gpu is host gpu
            if words and not value and words[0].startswith("="):        # and so are host =gpu and host = gpu
                words[:1] = [words[0][1:]] if words[0] != "=" else []
            word = word.lower()
            negated, word = word.startswith("!"), word.lstrip("!")
            bare = word in ("all", "final", "canonical")
            if not (bare or words):
                raise UsageError(f"{self.path}: `Match {word}` lacks its value")
            criteria.append((word, negated, None if bare else words.pop(0)))
        return criteria

    def key(self):
        """Return (what is compared, patterns without which the condition does not hold): "host",
        "originalhost", "hostname" and a list; None where it must be looked at for every host."""
        if self.keyword == "host":
            return "host", positive(self.values)
        if self.above is not None or self.has_include:
            # Whether it holds is found out when its line comes, and what is included under it asks for that
            return None
        try:
            criteria = {word: value for word, negated, value in self.criteria if not negated}
        except UsageError:
            return None         # said to whoever looks a host up
        if {"final", "canonical", "exec"} & {word for word, _, _ in self.criteria}:
            return None         # asking is not without effect
        fact = next((fact for fact in ("originalhost", "host") if fact in criteria), None)
        return fact and ("hostname" if fact == "host" else fact, positive(comma_separated(criteria[fact])))


def positive(patterns):
    return [pattern for pattern in patterns if pattern[:1] != "!"]


@functools.lru_cache(1000)
def comma_separated(value):
    """Return the patterns (tuple) of a criterion of a Match line."""
    return tuple(value.lower().split(","))


class Patterns:
    """Patterns of a Host line, or of a criterion (tuple): a name fits if it is one of them, and none of those
    that begin with "!"."""

    def __init__(self, patterns):
        self._plain = {pattern for pattern in patterns if not PATTERN.search(pattern)}
        self._wild = [pattern for pattern in positive(patterns) if pattern not in self._plain]
        self._refused = [pattern.lstrip("!") for pattern in patterns if pattern[:1] == "!"]

    def fit(self, name):
        """Whether `name` fits (bool)."""
        return ((name in self._plain or any(fits(pattern, name) for pattern in self._wild))
                and not any(fits(pattern, name) for pattern in self._refused))


def fits(pattern, name):
    """Whether `name` is what a pattern with * and ? says."""
    begin, star, end = pattern.partition("*")
    if "?" in pattern or "*" in end:
        return _regex(pattern).fullmatch(name) is not None
    return (len(name) >= len(begin) + len(end) and name.startswith(begin) and name.endswith(end) if star
            else name == pattern)


@functools.lru_cache(1000)
def _regex(pattern):
    pattern = re.sub(r"\*+", "*", pattern)
    return re.compile("".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern),
                      re.DOTALL)


class _Index:
    """Places of blocks by the patterns of their conditions."""

    def __init__(self):
        self._plain, self._wild = {}, []
        self._by_begin, self._by_end, self._unindexed = {}, {}, []

    def __bool__(self):
        return bool(self._plain or self._wild)

    def add(self, patterns, position):
        for pattern in patterns:
            if PATTERN.search(pattern):
                self._wild.append((pattern, position))
            else:
                self._plain.setdefault(pattern, []).append(position)

    def build(self):
        """Sort the patterns by what they begin or end with, whichever is more rare."""
        ends = [(pattern, position, re.match(r"[^*?]*", pattern)[0], re.search(r"[^*?]*\Z", pattern)[0])
                for pattern, position in self._wild]
        begins, tails = (collections.Counter(rule[column] for rule in ends) for column in (2, 3))
        for _, position, begin, end in ends:
            by_begin = begin and (not end or begins[begin] <= tails[end])
            table, text = (self._by_begin, begin) if by_begin else (self._by_end, end)
            (table.setdefault(text, []) if text else self._unindexed).append(position)
        self._begins, self._ends = ({len(text) for text in table} for table in (self._by_begin, self._by_end))

    def places(self, name):
        """Return the places whose patterns may fit `name` (set)."""
        places = {*self._plain.get(name, ()), *self._unindexed}
        for size in self._begins:
            places.update(self._by_begin.get(name[:size], ()))
        for size in self._ends:
            places.update(self._by_end.get(name[-size:], ()))
        return places


class Blocks:
    """The blocks of one file and of those it includes, in order."""

    def __init__(self, blocks):
        self.all = blocks
        self._always, self._indexes = [], {"host": _Index(), "originalhost": _Index(), "hostname": _Index()}
        for position, block in enumerate(blocks):
            key = block.condition.key() if block.condition else None
            if key:
                self._indexes[key[0]].add(key[1], position)
            elif block.lines or block.condition and block.condition.keyword == "match":
                self._always.append(position)
        for index in self._indexes.values():
            index.build()

    def of(self, host, original, hostname):
        """Yield the blocks that may apply to a host, in order.

        host: what Host lines are compared with; original: as the user called it; hostname(): its name as said
        by the options so far.
        """
        places = {*self._always, *self._indexes["host"].places(host),
                  *self._indexes["originalhost"].places(original)}
        if not self._indexes["hostname"]:
            yield from (self.all[position] for position in sorted(places))
            return
        name, last, waiting = None, -1, []
        while True:
            if hostname() != name:
                name = hostname()
                waiting = [position for position in places | self._indexes["hostname"].places(name.lower())
                           if position > last]
                heapq.heapify(waiting)
            if not waiting:
                return
            last = heapq.heappop(waiting)
            yield self.all[last]


class Files:
    """Config files, each read once, for one look-up or many; knows whether any of them changed since."""

    def __init__(self):
        self._blocks, self._lines, self._stamps, self._included = {}, {}, {}, {}

    @functools.cached_property
    def user(self):
        """The name of the user of this machine (str)."""
        return getpass.getuser()

    def blocks(self, path, folder):
        """Return the Blocks of a file. folder: the user's .ssh folder. Raises UsageError."""
        if path not in self._blocks:
            self._blocks[path] = Blocks(list(self._flat(path, folder, None, 0)))
        return self._blocks[path]

    def _flat(self, path, folder, above, depth):
        """Yield the Blocks of a file and, where they stand, of those it includes."""
        condition, lines, keywords = above, [], set()
        for keyword, values in self._read(path):
            if keyword not in ("host", "match", "include"):
                if values and (keyword in MANY or keyword not in keywords):
                    lines.append((keyword, values))
                    keywords.add(keyword)
                continue
            yield Block(condition, lines)
            lines, keywords = [], set()
            if keyword != "include":
                condition = Condition(keyword, tuple(values), path, above)
                continue
            if condition is not None:
                condition.has_include = True
            if depth >= DEPTH:
                raise UsageError(f"{path} includes files more than {DEPTH} deep")
            for included in self._stands_for(values, path, folder):
                yield from self._flat(included, folder, condition, depth + 1)
        yield Block(condition, lines)

    def _read(self, path):
        if path not in self._lines:
            if path != SYSTEM_CONFIG and local.others_may_change(path):
                raise UsageError(f"others may change {path}, which names commands that run as you; ssh "
                                 f"refuses it, too: `chmod go-w "
                                 f"{path}`, and let it be yours")
            self._stamps[path] = _stamp(path)
            self._lines[path] = _lines(path)
        return self._lines[path]

    def _stands_for(self, patterns, path, folder):
        """Return the files (list of str) that an Include line in the file `path` stands for."""
        base, files = (folder if path != SYSTEM_CONFIG and Path(folder) in Path(path).parents
                       else os.path.dirname(path), [])
        for pattern in patterns:
            pattern = os.path.join(base, os.path.expanduser(pattern))
            if pattern not in self._included:
                before = _at_rest(os.path.dirname(pattern))
                self._included[pattern] = sorted(glob.glob(pattern)), before
            files += self._included[pattern][0]
        return files

    def unchanged(self):
        """Whether every file is what it was when it was read, and every Include stands for the same."""
        return (all(_stamp(path) == stamp for path, stamp in self._stamps.items())
                and all(before and _at_rest(os.path.dirname(pattern)) == before
                        or sorted(glob.glob(pattern)) == names
                        for pattern, (names, before) in self._included.items()))


def _at_rest(folder):
    """Return what changes when a file comes into a folder or goes (tuple); None where that may not show, as
    the folder's own name is a pattern, or it changed a moment ago."""
    stamp = None if PATTERN.search(folder) or "[" in folder else _stamp(folder)
    return stamp if stamp and layout.tells_changes(stamp[0]) else None


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return None             # absent: that is a stamp too
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid


def _lines(path):
    """Return (keyword, values) of every line of a file; an absent or unreadable file has none."""
    try:
        text = local_disk.utf8(layout.read_regular(path)).decode("utf-8", "surrogateescape")
    except OSError:
        return []           # ssh passes over it as well
    return [line for line in (_line(raw, path, number) for number, raw in enumerate(text.splitlines(), 1))
            if line]


def _line(raw, path, number):
    raw = raw.strip()
    if not raw or raw.startswith("#"):
        return None
    match = KEYWORD.match(raw)
    keyword, values = (match[1], raw[match.end():]) if match else (raw, "")
    if keyword.lower() in WHOLE:
        return keyword.lower(), [values.strip()]
    if not MARKS.search(values):
        return keyword.lower(), values.split()
    words = _words(values)
    if words is None:
        raise UsageError(f"{path}:{number} has a quote without its other half")
    return keyword.lower(), words


def _words(text):
    """Return the words of a line's values up to a comment, as OpenSSH's argv_split has them; None where a
    quote has no other half.

    A backslash escapes quotes and itself, outside of quotes a space too; any other stands for itself, as in
    C:\\Users."""
    words, word, quote, index = [], None, "", 0
    while index < len(text) and not (word is None and text[index] == "#"):
        char, after = text[index], text[index + 1:index + 2]
        index += 1
        if char == after == "\\" and not word and text[index + 1:index + 2].strip("\\\"' "):
            word, index = "\\\\", index + 1          # \\.\pipe\agent and \\host\share, as people write them
        elif char == "\\" and after and (after in "\\\"'" or after == " " and not quote):
            word, index = (word or "") + after, index + 1
        elif char in " \t" and not quote:
            words, word = [*words, *([] if word is None else [word])], None
        elif char in "\"'" and quote in ("", char):
            word, quote = word or "", "" if quote else char
        else:
            word = (word or "") + char
    return None if quote else [*words, *([] if word is None else [word])]
