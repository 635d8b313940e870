"""~/.ssh/config, with Include: what applies to a host, first value wins. Format: ssh_config(5). Opens no connection."""

import functools
import getpass
import glob
import hashlib
import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

from runicorn import local_disk
from runicorn.errors import RemoteError, UsageError
from runicorn.ssh import local

DEPTH = 16                  # OpenSSH's own limit on nested Include
EXEC_SECONDS = 10           # for `Match exec`
MANY = {"identityfile", "certificatefile"}      # keywords whose values add up
FILES = {"userknownhostsfile", "globalknownhostsfile"}      # keywords of several files: lists
WHOLE = {"proxycommand", "knownhostscommand"}   # keywords whose value is the rest of the line, quotes and all
FLAGS = {"identitiesonly", "proxyusefdpass", "stricthostkeychecking", "canonicalizehostname", "canonicalizefallbacklocal",
         "nohostauthenticationforlocalhost"}       # keywords of few words, in any case; true and false are yes and no
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
JUMPS = 8                   # more jump hosts than this, each told by the next one's own entry, lead in a circle
SYSTEM_CONFIG = local.system_file("ssh_config")
PATTERN = re.compile(r"[*?!]")


def lookup(host, user="", port=None, paths=None, folder=None, commands=True, files=None):
    """Return the options for `host` as ssh would see them: dict of lower-case keyword -> str (list for those in MANY and FILES).

    user, port: given by the caller, they win over the files. paths: config files (default: ~/.ssh/config and the system's).
    folder: the user's .ssh folder (Path). commands: whether `Match exec` runs its command; else it does not match. files: Files, where
    many hosts are looked up. Always there: hostname, user, port (int); with knownhostscommand also tokens (dict), its % tokens that are
    known by now. Raises UsageError for a broken file.
    """
    folder = os.path.expanduser(folder or "~/.ssh")
    options = {"user": user, "port": str(port or "")}
    reading = _Reading(host, folder, {keyword: value for keyword, value in options.items() if value}, commands, files or Files())
    paths = [f"{folder}/config", SYSTEM_CONFIG] if paths is None else list(map(os.fspath, paths))
    for path in paths:
        reading.file(path, active=True)
    if reading.read_again():
        for path in paths:
            reading.file(path, active=True)
    return reading.finished()


def hosts(paths=None, folder=None, files=None):
    """Return the names (list of str, no patterns) that Host lines of the user's config offer, in order."""
    folder, files = os.path.expanduser(folder or "~/.ssh"), files or Files()
    names = {}
    for path in map(os.fspath, paths or [f"{folder}/config"]):
        for patterns in _host_lines(files, path, folder, 0):
            names.update((name, True) for name in patterns if not PATTERN.search(name))
    return list(names)


def offered():
    """Return {name: its options, as lookup(name, commands=False) gives them} of `hosts()`, kept until a file changes."""
    global _offered
    home = os.path.expanduser("~")
    if _offered is None or _offered[0] != home or not _offered[1].unchanged():
        files = Files()
        _offered = home, files, {name: lookup(name, commands=False, files=files) for name in hosts(files=files)}
    return _offered[2]


_offered = None                 # (home folder, Files, what `offered` returned)


class Files:
    """Config files, each read once, for one look-up or many; knows whether any of them changed since."""

    def __init__(self):
        self._blocks, self._stamps, self._included = {}, {}, {}
        self._lines = {}            # (path, *patterns of one of its Include lines) -> what that stands for

    def blocks(self, path, host=None):
        """Return [(keyword, values, lines)] of a file in order, one for its top and one a Host or Match line; of Host lines
        without patterns only those that name `host`, if given."""
        if path not in self._blocks:
            if path != SYSTEM_CONFIG and local.others_may_change(path):
                raise UsageError(f"others may change {path}, which names commands that run as you; ssh refuses it, too: `chmod go-w "
                                 f"{path}`, and let it be yours")
            self._stamps[path] = _stamp(path)
            self._blocks[path] = _Blocks(_lines(path))
        return self._blocks[path].of(host)

    def included(self, patterns, path, folder, depth):
        """Return the files (list of str) that an Include line in the file `path` stands for."""
        if depth >= DEPTH:
            raise UsageError(f"{path} includes files more than {DEPTH} deep")
        if (path, *patterns) in self._lines:
            return self._lines[(path, *patterns)]
        base, files = folder if path != SYSTEM_CONFIG and Path(folder) in Path(path).parents else os.path.dirname(path), []
        for pattern in patterns:
            pattern = os.path.join(base, os.path.expanduser(pattern))
            if pattern not in self._included:
                self._included[pattern] = sorted(glob.glob(pattern))
            files += self._included[pattern]
        self._lines[(path, *patterns)] = files
        return files

    def unchanged(self):
        """Whether every file is what it was when it was read, and every Include stands for the same."""
        return (all(_stamp(path) == stamp for path, stamp in self._stamps.items())
                and all(sorted(glob.glob(pattern)) == names for pattern, names in self._included.items()))


class _Blocks:
    """The blocks of one file, found by the names of their Host lines."""

    def __init__(self, lines):
        self._all = [(None, [], [])]
        self._shared = None                         # what `of` returns for a host that no line names
        self._by_name, self._others = {}, [0]       # places in _all: of Host lines of plain names; of all others
        for keyword, values in lines:
            if keyword not in ("host", "match"):
                self._all[-1][2].append((keyword, values))
                if keyword == "include":            # what others may change is refused for every host
                    self._others.append(len(self._all) - 1)
                continue
            values, plain = tuple(values), keyword == "host" and not any(map(PATTERN.search, values))
            for places in [self._by_name.setdefault(name, []) for name in dict.fromkeys(values)] if plain else [self._others]:
                places.append(len(self._all))
            self._all.append((keyword, values, []))

    def of(self, host):
        if host is None:
            return self._all
        if self._shared is None:
            blocks = (self._all[index] for index in self._others)
            self._shared = [block for block in blocks if block[2] or block[0] == "match"]
        named = self._by_name.get(host)
        if named is None:
            return self._shared
        blocks = ((index, *self._all[index]) for index in sorted({*self._others, *named}))
        return [(keyword, (host,) if index in named else values, lines) for index, keyword, values, lines in blocks]


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return None             # absent: that is a stamp too
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid


class _Reading:
    """One look-up: the values so far, and what the Match lines need to know."""

    def __init__(self, host, folder, options, commands, files):
        self.original = self.host = host        # host: what Host lines are compared with
        self.folder, self.options, self.commands, self.files = folder, options, commands, files
        self.final = self.wants_final = False
        self.home = os.path.dirname(folder)

    def file(self, path, active, depth=0):
        """Read one file; Host and Match lines switch, an Include keeps to the switch it stands under."""
        allowed = active
        for condition, values, lines in self.files.blocks(path, self.host):
            if condition:
                active = allowed and (_names_match(values, self.host) if condition == "host" else self.matched(values, path))
            for keyword, words in lines:
                if keyword == "include":
                    for included in self.files.included(words, path, self.folder, depth):
                        self.file(included, active, depth + 1)
                elif active and words:
                    self.take(keyword, words)

    def take(self, keyword, values):
        if keyword in MANY:
            values_before = self.options.setdefault(keyword, [])
            values_before += [value for value in values if value not in values_before]
        elif keyword in FLAGS:
            word = " ".join(values).lower()
            self.options.setdefault(keyword, {"true": "yes", "false": "no"}.get(word, word))
        elif not self.decided(keyword):
            self.options.setdefault(keyword, values if keyword in FILES else " ".join(values))

    def decided(self, keyword):
        """Whether the way there was settled by the other keyword for it: of ProxyJump and ProxyCommand the first counts."""
        if keyword == "proxycommand":
            return self.options.get("proxyjump", "none").lower() != "none"
        return keyword == "proxyjump" and "proxycommand" in self.options

    def read_again(self):
        """Begin the second reading that `Match final` and CanonicalizeHostname ask for, under the host's real name; return whether
        there is one."""
        canonical = self.options.get("canonicalizehostname", "no")
        if canonical not in ("yes", "always") and not self.wants_final:
            return False
        if canonical in ("yes", "always"):
            self.options["hostname"] = self.canonical(self.hostname().lower(), canonical == "always")
        self.host, self.final = self.hostname().lower(), True
        return True

    def canonical(self, name, always):
        """Return the full name (str) under which one of CanonicalDomains knows a host, or `name` itself."""
        proxied = any(self.options.get(keyword, "none").lower() != "none" for keyword in ("proxyjump", "proxycommand"))
        dots = self.options.get("canonicalizemaxdots", "1")
        if not self.commands or proxied and not always or ":" in name or re.fullmatch(r"[\d.]+", name):
            return name
        if name.endswith("."):
            return name.rstrip(".")
        if dots.isdecimal() and name.count(".") > int(dots):
            return name
        for domain in self.options.get("canonicaldomains", "").split():
            try:
                socket.getaddrinfo(f"{name}.{domain.strip('.')}.", None)       # with the root's dot: in no search list
            except (OSError, UnicodeError):
                continue            # not in this domain
            return f"{name}.{domain.strip('.')}"
        if self.options.get("canonicalizefallbacklocal") == "no":
            raise UsageError(f"no domain of CanonicalDomains knows the host {name}, and CanonicalizeFallbackLocal is no")
        return name

    def matched(self, values, path):
        """Whether every criterion of a Match line holds."""
        holds = bool(values)
        for word, negated, value in _criteria(tuple(values), path):
            holds = (self.criterion(word, value) != negated) and holds
        return holds

    def criterion(self, word, value):
        if word == "all":
            return True
        if word in ("final", "canonical"):
            self.wants_final = self.wants_final or word == "final"
            return self.final
        if word == "exec":
            return self.commands and _succeeds(self.expanded(value))
        return word in FACTS and _names_match(tuple(value.lower().split(",")), FACTS[word](self).lower())

    def hostname(self):
        return _tokens(self.options.get("hostname", self.host), {"h": self.original})

    def expanded(self, text):
        """Return `text` with ssh's % tokens replaced by what is known by now."""
        return _tokens(text, self.tokens()) if "%" in text else text

    def tokens(self):
        name, jump = socket.gethostname(), self.options.get("proxyjump", "")
        letters = {"h": self.hostname().lower(), "n": self.original, "p": self.options.get("port", "22"), "d": self.home,
                "r": self.options.get("user") or getpass.getuser(), "u": getpass.getuser(), "l": name, "L": name.split(".")[0],
                "k": self.options.get("hostkeyalias", self.original), "i": str(os.getuid()) if hasattr(os, "getuid") else "0",
                "j": "" if jump.lower() == "none" else jump}
        letters["C"] = hashlib.sha1("".join(letters[letter] for letter in "lhprj").encode("utf-8", "surrogateescape")).hexdigest()
        return letters

    def finished(self):
        options = dict(self.options, hostname=self.hostname().lower(), user=self.options.get("user") or getpass.getuser())
        options["port"] = _port(options.get("port", "22"))
        for keyword in MANY | FILES | {"identityagent", "revokedhostkeys"}:
            if keyword in options:
                value = options[keyword]
                options[keyword] = [self.path(text) for text in value] if isinstance(value, list) else self.path(value)
        for keyword in ("proxycommand", "proxyjump"):
            if keyword in options:
                options[keyword] = self.expanded(options[keyword])
        if "knownhostscommand" in options:
            options["tokens"] = self.tokens()
        return options

    def path(self, text):
        text = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], ""), self.expanded(local.expanded(text)))
        return self.home + text[1:] if text.startswith("~/") else os.path.expanduser(text)


FACTS = {                       # what the criteria of a Match line are compared with
    "host": _Reading.hostname,
    "originalhost": lambda reading: reading.original,
    "user": lambda reading: reading.options.get("user") or getpass.getuser(),
    "localuser": lambda reading: getpass.getuser(),
    "tagged": lambda reading: reading.options.get("tag", ""),
}


@functools.lru_cache(1000)
def _criteria(words, path):
    """Return [(criterion, whether it is negated, its value or None)] of a Match line in the file `path`. Raises UsageError."""
    words, criteria = list(words), []
    while words:
        word, equals, value = words.pop(0).partition("=")
        words[:0] = [value] if value else []                        # host=gpu is host gpu
        if words and not value and words[0].startswith("="):        # and so are host =gpu and host = gpu
            words[:1] = [words[0][1:]] if words[0] != "=" else []
        word = word.lower()
        negated, word = word.startswith("!"), word.lstrip("!")
        bare = word in ("all", "final", "canonical")
        if not (bare or words):
            raise UsageError(f"{path}: `Match {word}` lacks its value")
        criteria.append((word, negated, None if bare else words.pop(0)))
    return criteria


def _lines(path):
    """Return (keyword, values) of every line of a file; an absent or unreadable file has none."""
    try:
        text = local_disk.utf8(Path(path).read_bytes()).decode("utf-8", "surrogateescape")
    except OSError:
        return []           # ssh passes over it as well
    return [line for line in (_line(raw, path, number) for number, raw in enumerate(text.splitlines(), 1)) if line]


def _line(raw, path, number):
    raw = raw.strip()
    if not raw or raw.startswith("#"):
        return None
    keyword, _, values = re.sub(r"^(\w+)\s*=\s*|^(\w+)\s+", lambda match: (match[1] or match[2]) + "\0", raw, count=1).partition("\0")
    if keyword.lower() in WHOLE:
        return keyword.lower(), [values.strip()]
    if not re.search(r"""["'\\#]""", values):
        return keyword.lower(), values.split()
    words = _words(values)
    if words is None:
        raise UsageError(f"{path}:{number} has a quote without its other half")
    return keyword.lower(), words


def _words(text):
    """Return the words of a line's values up to a comment, as OpenSSH's argv_split has them; None where a quote has no other half.

    A backslash escapes quotes and itself, outside of quotes a space too; any other stands for itself, as in C:\\Users."""
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


def _host_lines(files, path, folder, depth):
    """Yield the patterns of every Host line of a file and of those it includes."""
    for condition, values, lines in files.blocks(path):
        if condition == "host":
            yield values
        for keyword, words in lines:
            for included in files.included(words, path, folder, depth) if keyword == "include" else ():
                yield from _host_lines(files, included, folder, depth + 1)


def _names_match(patterns, name):
    """Whether one of SSH's patterns (tuple) is `name`, and none that begins with "!"."""
    wanted, refused = _compiled(patterns)
    return wanted(name) and not refused(name)


@functools.lru_cache(1000)
def _compiled(patterns):
    """Return two functions of a name: whether it is one of the patterns, and whether one of those after "!"."""
    return (_any_of([pattern for pattern in patterns if pattern[:1] != "!"]),
            _any_of([pattern.lstrip("!") for pattern in patterns if pattern[:1] == "!"]))


def _any_of(patterns):
    names = {pattern for pattern in patterns if not PATTERN.search(pattern)}
    wild = [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns if PATTERN.search(pattern)]
    fits = re.compile("|".join(f"(?:{one})" for one in wild)).fullmatch if wild else lambda name: None
    return lambda name: name in names or fits(name) is not None


def _tokens(text, tokens):
    if "%" not in text:
        return text
    return re.sub(r"%(.)", lambda match: "%" if match[1] == "%" else str(tokens.get(match[1], match[0])), text)


def _succeeds(command):
    try:
        return subprocess.run(local.shell_words(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=EXEC_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False        # as a command that failed: the block does not apply


def known_hosts_lines(options, **tokens):
    """Return what KnownHostsCommand prints (str), "" without one. options: as lookup gives them; tokens: those of the moment (%H …).
    Raises UsageError when it fails, as ssh goes no further then."""
    words = shlex.split(options.get("knownhostscommand", "none"))
    if not words or words == ["none"]:
        return ""
    words = [_tokens(word, {**options["tokens"], **tokens}) for word in words]
    try:
        process = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=EXEC_SECONDS)
        failure = f"exit status {process.returncode}" if process.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = getattr(error, "strerror", None) or f"no end within {EXEC_SECONDS} s"
    if failure:
        raise UsageError(f"KnownHostsCommand {words[0]} failed ({failure}): ssh asks it for host keys; mend it, or ~/.ssh/config")
    return process.stdout


def seconds(text, otherwise):
    """Return a time as ssh_config(5) writes it ("40", "1m30s") in s (int); `otherwise` for None and what makes no sense."""
    parts = re.findall(r"(\d+)([smhdw]?)", text.lower()) if text and re.fullmatch(r"(\d+[smhdwSMHDW]?)+", text) else None
    return sum(int(number) * UNITS[unit or "s"] for number, unit in parts) if parts else otherwise


def _port(text):
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"Port {text!r} in the SSH config is no port")
    return int(text)


def jumps(text):
    """Return the hops of a ProxyJump value, nearest first: list of (host, user or "", port or None). Raises UsageError."""
    hops = []
    for hop in text.split(","):
        matched = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(\[[^\]]+\]|[^:@\s]+)(?::(\d+))?/?", hop.strip())
        if not matched:
            raise UsageError(f"ProxyJump {hop.strip()!r} is not user@host:port")
        hops.append((matched[2].strip("[]"), matched[1] or "", _port(matched[3]) if matched[3] else None))
    return hops


def circle(host):
    """Return the error for a ProxyJump that leads to itself (RemoteError)."""
    return RemoteError(f"ProxyJump leads in a circle at {host}; mend ~/.ssh/config", code="channel", said="jump_circle", host=host)
