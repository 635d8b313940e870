"""~/.ssh/config, with Include: what applies to a host, first value wins. Format: ssh_config(5). Opens no connection."""

import getpass
import glob
import itertools
import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

from runicorn.errors import UsageError

DEPTH = 16                  # OpenSSH's own limit on nested Include
EXEC_SECONDS = 10           # for `Match exec`
MANY = {"identityfile", "certificatefile"}      # keywords whose values add up
SYSTEM_CONFIG = "/etc/ssh/ssh_config"


def lookup(host, user="", port=None, paths=None, folder=None, commands=True):
    """Return the options for `host` as ssh would see them: dict of lower-case keyword -> str (list for identityfile).

    user, port: given by the caller, they win over the files. paths: config files (default: ~/.ssh/config and the system's).
    folder: the user's .ssh folder (Path). commands: whether `Match exec` runs its command; else it does not match.
    Always there: hostname, user, port (int). Raises UsageError for a broken file.
    """
    folder = Path(folder or "~/.ssh").expanduser()
    given = {"user": user, "port": str(port or "")}
    reading = _Reading(host, folder, {keyword: value for keyword, value in given.items() if value}, commands)
    for final in (False, True):
        reading.final = final
        for path in [folder / "config", SYSTEM_CONFIG] if paths is None else paths:
            reading.file(Path(path), active=True)
        if not reading.wants_final:
            break
    return reading.finished()


def hosts(paths=None, folder=None):
    """Return the names (list of str, no patterns) that Host lines of the user's config offer, in order."""
    folder = Path(folder or "~/.ssh").expanduser()
    found = {}
    for path in paths or [folder / "config"]:
        for keyword, values in _all_lines(Path(path), folder, 0):
            if keyword == "host":
                found.update((name, True) for name in values if not re.search(r"[*?!]", name))
    return list(found)


class _Reading:
    """One look-up: the values so far, and what the Match lines need to know."""

    def __init__(self, host, folder, given, commands):
        self.host, self.folder, self.options, self.commands = host, folder, given, commands
        self.final = self.wants_final = False

    def file(self, path, active, depth=0):
        """Read one file; Host and Match lines switch, an Include keeps to the switch it stands under."""
        allowed = active
        for keyword, values in _lines(path):
            if keyword == "host":
                active = allowed and _names_match(values, self.host)
            elif keyword == "match":
                active = allowed and self.matched(values, path)
            elif keyword == "include":
                for included in _included(values, path, self.folder, depth):
                    self.file(included, active, depth + 1)
            elif active and values:
                self.take(keyword, values)

    def take(self, keyword, values):
        if keyword in MANY:
            kept = self.options.setdefault(keyword, [])
            kept += [value for value in values if value not in kept]
        else:
            self.options.setdefault(keyword, " ".join(values))

    def matched(self, values, path):
        """Whether every criterion of a Match line holds."""
        words, holds = list(values), bool(values)
        while words:
            word = words.pop(0).lower()
            negated, word = word.startswith("!"), word.lstrip("!")
            if word not in ("all", "final", "canonical") and not words:
                raise UsageError(f"{path}: `Match {word}` lacks its value")
            holds = (self.criterion(word, words) != negated) and holds
        return holds

    def criterion(self, word, words):
        if word == "all":
            return True
        if word in ("final", "canonical"):
            self.wants_final = self.wants_final or word == "final"
            return self.final
        value = words.pop(0)
        told = {"host": self.hostname(), "originalhost": self.host, "user": self.options.get("user") or getpass.getuser(),
                "localuser": getpass.getuser(), "tagged": self.options.get("tag", "")}
        if word == "exec":
            return self.commands and _succeeds(self.expanded(value))
        return word in told and _names_match(value.lower().split(","), told[word].lower())

    def hostname(self):
        return _tokens(self.options.get("hostname", self.host), {"h": self.host})

    def expanded(self, text):
        """Return `text` with ssh's % tokens replaced by what is known by now."""
        name = socket.gethostname()
        return _tokens(text, {
            "h": self.hostname(), "n": self.host, "p": self.options.get("port", "22"), "d": str(self.folder.parent),
            "r": self.options.get("user") or getpass.getuser(), "u": getpass.getuser(), "l": name, "L": name.split(".")[0],
            "k": self.options.get("hostkeyalias", self.host), "i": str(os.getuid()) if hasattr(os, "getuid") else "0"})

    def finished(self):
        made = dict(self.options, hostname=self.hostname().lower(), user=self.options.get("user") or getpass.getuser())
        made["port"] = _port(made.get("port", "22"))
        for keyword in ("identityfile", "userknownhostsfile", "globalknownhostsfile", "identityagent"):
            if keyword in made:
                value = made[keyword]
                made[keyword] = [self.path(one) for one in value] if isinstance(value, list) else " ".join(map(self.path, value.split()))
        for keyword in ("proxycommand", "proxyjump"):
            if keyword in made:
                made[keyword] = self.expanded(made[keyword])
        return made

    def path(self, text):
        text = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), self.expanded(text))
        return str(self.folder.parent) + text[1:] if text.startswith("~/") else os.path.expanduser(text)


def _lines(path):
    """Return (keyword, values) of every line of a file; an absent or unreadable file has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []           # ssh passes over it as well
    return [line for line in (_line(raw, path, number) for number, raw in enumerate(text.splitlines(), 1)) if line]


def _line(raw, path, number):
    raw = raw.strip()
    if not raw or raw.startswith("#"):
        return None
    keyword, _, rest = re.sub(r"^(\w+)\s*=\s*|^(\w+)\s+", lambda found: (found[1] or found[2]) + "\0", raw, count=1).partition("\0")
    if keyword.lower() == "proxycommand":
        return "proxycommand", [rest.strip()]       # the rest of the line belongs to the shell, quotes and all
    try:
        lexer = shlex.shlex(rest, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escape = True, "", '"', ""
        return keyword.lower(), list(itertools.takewhile(lambda word: not word.startswith("#"), lexer))
    except ValueError as error:
        raise UsageError(f"{path}:{number} has a quote without its other half") from error


def _included(patterns, path, folder, depth):
    if depth >= DEPTH:
        raise UsageError(f"{path} includes files more than {DEPTH} deep")
    base = folder if str(path) != SYSTEM_CONFIG and folder in path.parents else path.parent
    for pattern in patterns:
        yield from map(Path, sorted(glob.glob(os.path.join(base, os.path.expanduser(pattern)))))


def _all_lines(path, folder, depth):
    for keyword, values in _lines(path):
        if keyword == "include":
            for included in _included(values, path, folder, depth):
                yield from _all_lines(included, folder, depth + 1)
        yield keyword, values


def _wildcard(pattern, name):
    # an SSH pattern: "*" any text, "?" one character, nothing else special
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None


def _names_match(patterns, name):
    found = False
    for pattern in patterns:
        if _wildcard(pattern.lstrip("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _tokens(text, known):
    return re.sub(r"%(.)", lambda found: "%" if found[1] == "%" else str(known.get(found[1], found[0])), text)


def _succeeds(command):
    try:
        return subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=EXEC_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False        # as a command that failed: the block does not apply


def _port(text):
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"Port {text!r} in the SSH config is no port")
    return int(text)


def jumps(text):
    """Return the hops of a ProxyJump value, nearest first: list of (host, user or "", port or None). Raises UsageError."""
    found = []
    for hop in text.split(","):
        matched = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(\[[^\]]+\]|[^:@\s]+)(?::(\d+))?/?", hop.strip())
        if not matched:
            raise UsageError(f"ProxyJump {hop.strip()!r} is not user@host:port")
        found.append((matched[2].strip("[]"), matched[1] or "", _port(matched[3]) if matched[3] else None))
    return found
