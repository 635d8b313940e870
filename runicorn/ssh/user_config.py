"""~/.ssh/config, with Include: what applies to a host, first value wins. Format: ssh_config(5). Opens no
connection."""

import functools
import hashlib
import os
import re
import shlex
import socket
import subprocess

from runicorn.errors import RemoteError, UsageError
from runicorn.ssh import local
from runicorn.ssh.config_files import MANY, PATTERN, SYSTEM_CONFIG, Files, Patterns, comma_separated

EXEC_SECONDS = 10           # for `Match exec`
FILES = {"userknownhostsfile", "globalknownhostsfile"}      # keywords of several files: lists
# Keywords of few words, in any case; true and false are yes and no
FLAGS = {"identitiesonly", "proxyusefdpass", "stricthostkeychecking", "canonicalizehostname",
         "canonicalizefallbacklocal", "nohostauthenticationforlocalhost"}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# More jump hosts than this, each told by the next one's own entry, lead in a circle
JUMPS = 8


def lookup(host, user="", port=None, paths=None, folder=None, commands=True, files=None):
    """Return the options for `host` as ssh would see them: dict of lower-case keyword -> str (list for those
    in MANY and FILES).

    user, port: given by the caller, they win over the files. paths: config files (default: ~/.ssh/config and
    the system's).
    folder: the user's .ssh folder (Path). commands: whether `Match exec` runs its command; else it does not
    match. files: Files, where many hosts are looked up. Always there: hostname, user, port (int); with
    knownhostscommand also tokens (dict), its % tokens that are known by now. Raises UsageError for a broken
    file.
    """
    folder = os.path.expanduser(folder or "~/.ssh")
    options = {"user": user, "port": str(port or "")}
    reading = _Reading(host, folder, {keyword: value for keyword, value in options.items() if value},
                       commands, files or Files())
    paths = [f"{folder}/config", SYSTEM_CONFIG] if paths is None else list(map(os.fspath, paths))
    for path in paths:
        reading.file(path)
    if reading.read_again():
        for path in paths:
            reading.file(path)
    return reading.finished()


def hosts(paths=None, folder=None, files=None):
    """Return the names (list of str, no patterns) that Host lines of the user's config offer, in order."""
    folder, files = os.path.expanduser(folder or "~/.ssh"), files or Files()
    names = {}
    for path in map(os.fspath, paths or [f"{folder}/config"]):
        for condition in {block.condition: True for block in files.blocks(path, folder).all}:
            if condition and condition.keyword == "host":
                names.update((name, True) for name in condition.values if not PATTERN.search(name))
    return list(names)


def offered():
    """Return {name: its options, as lookup(name, commands=False) gives them} of `hosts()`, kept until a file
    changes."""
    global _offered
    home = os.path.expanduser("~")
    if _offered is None or _offered[0] != home or not _offered[1].unchanged():
        files, folder = Files(), f"{home}/.ssh"
        _offered = (home, files, {name: lookup(name, folder=folder, commands=False, files=files)
                                  for name in hosts(folder=folder, files=files)})
    return _offered[2]


_offered = None                 # (home folder, Files, what `offered` returned)


class _Reading:
    """One look-up: the values so far, and what the Match lines need to know."""

    def __init__(self, host, folder, options, commands, files):
        self.original = self.host = host        # host: what Host lines are compared with
        self.folder, self.options, self.commands, self.files = folder, options, commands, files
        self.conditions = {}                    # Condition -> whether it holds
        self.final = self.wants_final = False
        self.home = os.path.dirname(folder)

    def file(self, path):
        """Read one file, and those it includes."""
        for block in self.files.blocks(path, self.folder).of(self.host, self.original, self.hostname):
            if self.holds(block.condition):
                for keyword, words in block.lines:
                    self.take(keyword, words)

    def holds(self, condition):
        """Whether a Condition, and those under which its file was included, hold; as found out when its line
        came."""
        if condition is None:
            return True
        if condition not in self.conditions:
            self.conditions[condition] = self.holds(condition.above) and (
                condition.names.fit(self.host) if condition.keyword == "host" else self.matched(condition))
        return self.conditions[condition]

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
        """Whether the way there was settled by the other keyword for it: of ProxyJump and ProxyCommand the
        first counts."""
        if keyword == "proxycommand":
            return self.options.get("proxyjump", "none").lower() != "none"
        return keyword == "proxyjump" and "proxycommand" in self.options

    def read_again(self):
        """Begin the second reading that `Match final` and CanonicalizeHostname ask for, under the host's real
        name; return whether there is one."""
        canonical = self.options.get("canonicalizehostname", "no")
        if canonical not in ("yes", "always") and not self.wants_final:
            return False
        name = self.hostname().lower()
        name = self.canonical(name, canonical == "always") if canonical in ("yes", "always") else name
        # No HostName of the second reading counts
        self.options["hostname"], self.host = name, name.lower()
        self.final, self.conditions = True, {}
        return True

    def canonical(self, name, always):
        """Return the full name (str) under which one of CanonicalDomains knows a host, or `name` itself."""
        proxied = any(self.options.get(keyword, "none").lower() != "none"
                      for keyword in ("proxyjump", "proxycommand"))
        dots = self.options.get("canonicalizemaxdots", "1")
        if not self.commands or proxied and not always or ":" in name or re.fullmatch(r"[\d.]+", name):
            return name
        if name.endswith("."):
            return name.rstrip(".")
        if dots.isdecimal() and name.count(".") > int(dots):
            return name
        for domain in self.options.get("canonicaldomains", "").split():
            try:
                # With the root's dot: in no search list
                socket.getaddrinfo(f"{name}.{domain.strip('.')}.", None)
            except (OSError, UnicodeError):
                continue            # not in this domain
            return f"{name}.{domain.strip('.')}"
        if self.options.get("canonicalizefallbacklocal") == "no":
            raise UsageError(f"no domain of CanonicalDomains knows the host {name}, and "
                             f"CanonicalizeFallbackLocal is no")
        return name

    def matched(self, condition):
        """Whether every criterion of a Match line holds."""
        holds = bool(condition.values)
        for word, negated, value in condition.criteria:
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
        return word in FACTS and _patterns(comma_separated(value)).fit(FACTS[word](self).lower())

    def hostname(self):
        return _tokens(self.options.get("hostname", self.host), {"h": self.original})

    def expanded(self, text):
        """Return `text` with ssh's % tokens replaced by what is known by now."""
        return _tokens(text, self.tokens()) if "%" in text else text

    def tokens(self):
        name, jump = socket.gethostname(), self.options.get("proxyjump", "")
        letters = {"h": self.hostname().lower(), "n": self.original, "p": self.options.get("port", "22"),
                   "d": self.home, "r": self.options.get("user") or self.files.user, "u": self.files.user,
                   "l": name, "L": name.split(".")[0], "k": self.options.get("hostkeyalias", self.original),
                   "i": str(os.getuid()) if hasattr(os, "getuid") else "0",
                   "j": "" if jump.lower() == "none" else jump}
        letters["C"] = hashlib.sha1(
            "".join(letters[letter] for letter in "lhprj").encode("utf-8", "surrogateescape")).hexdigest()
        return letters

    def finished(self):
        options = dict(self.options, hostname=self.hostname().lower(),
                       user=self.options.get("user") or self.files.user)
        options["port"] = _port(options.get("port", "22"))
        for keyword in MANY | FILES | {"identityagent", "revokedhostkeys"}:
            if keyword in options:
                value = options[keyword]
                options[keyword] = ([self.path(text) for text in value] if isinstance(value, list)
                                    else self.path(value))
        for keyword in ("proxycommand", "proxyjump"):
            if keyword in options:
                options[keyword] = self.expanded(options[keyword])
        if "knownhostscommand" in options:
            options["tokens"] = self.tokens()
        return options

    def path(self, text):
        text = self.expanded(local.expanded(text))
        if "$" in text:
            text = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], ""), text)
        return self.home + text[1:] if text.startswith("~/") else os.path.expanduser(text)


FACTS = {                       # what the criteria of a Match line are compared with
    "host": _Reading.hostname,
    "originalhost": lambda reading: reading.original,
    "user": lambda reading: reading.options.get("user") or reading.files.user,
    "localuser": lambda reading: reading.files.user,
    "tagged": lambda reading: reading.options.get("tag", ""),
}


@functools.lru_cache(1000)
def _patterns(patterns):
    return Patterns(patterns)


def _tokens(text, tokens):
    if "%" not in text:
        return text
    return re.sub(r"%(.)", lambda match: "%" if match[1] == "%" else str(tokens.get(match[1], match[0])),
                  text)


def _succeeds(command):
    try:
        return subprocess.run(local.shell_words(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=EXEC_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False        # as a command that failed: the block does not apply


def known_hosts_lines(options, **tokens):
    """Return what KnownHostsCommand prints (str), "" without one. options: as lookup gives them; tokens:
    those of the moment (%H …). Raises UsageError when it fails, as ssh goes no further then."""
    words = shlex.split(options.get("knownhostscommand", "none"))
    if not words or words == ["none"]:
        return ""
    words = [_tokens(word, {**options["tokens"], **tokens}) for word in words]
    try:
        process = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                 errors="replace", timeout=EXEC_SECONDS)
        failure = f"exit status {process.returncode}" if process.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = getattr(error, "strerror", None) or f"no end within {EXEC_SECONDS} s"
    if failure:
        raise UsageError(f"KnownHostsCommand {words[0]} failed ({failure}): ssh asks it for host keys; mend "
                         f"it, or ~/.ssh/config")
    return process.stdout


def seconds(text, otherwise):
    """Return a time as ssh_config(5) writes it ("40", "1m30s") in s (int); `otherwise` for None and what
    makes no sense."""
    parts = (re.findall(r"(\d+)([smhdw]?)", text.lower())
             if text and re.fullmatch(r"(\d+[smhdwSMHDW]?)+", text) else None)
    return sum(int(number) * UNITS[unit or "s"] for number, unit in parts) if parts else otherwise


def _port(text):
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"Port {text!r} in the SSH config is no port")
    return int(text)


def jumps(text):
    """Return the hops of a ProxyJump value, nearest first: list of (host, user or "", port or None). Raises
    UsageError."""
    hops = []
    for hop in text.split(","):
        matched = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(\[[^\]]+\]|[^:@\s]+)(?::(\d+))?/?", hop.strip())
        if not matched:
            raise UsageError(f"ProxyJump {hop.strip()!r} is not user@host:port")
        hops.append((matched[2].strip("[]"), matched[1] or "", _port(matched[3]) if matched[3] else None))
    return hops


def circle(host):
    """Return the error for a ProxyJump that leads to itself (RemoteError)."""
    return RemoteError(f"ProxyJump leads in a circle at {host}; mend ~/.ssh/config", code="channel",
                       said="jump_circle", host=host)
