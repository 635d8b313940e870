"""config.json (root, connections, preferences) and overlay.json (the reader's own tags, notes and hidden
runs).

Each is a JSON object of mode 0600, changed by read, merge and rename under a lock of its own; keys we don't
know are kept. Passwords and passphrases are never in them.
"""

import json
import logging
import os
import re
import threading
import time
from pathlib import Path

from runicorn import disk, layout, local_disk, local_names, rules
from runicorn.errors import NotFoundError, SettingsError, UsageError
from runicorn.surrogates import LONE, encode_json, visible

OVERLAY = "overlay.json"
PRIVATE = 0o600
STALE_SECONDS = 0.5         # how long an Overlay trusts what it read before it looks at the file again
SAVING_SECONDS = 1.0        # within which an editor that saves in place has filled the file that it emptied
SECRETS = ("password", "passphrase")

# A connection with nothing said. The guide's form opens with these.
CONNECTION = {"name": None, "host": None, "port": 22, "user": "", "auth": "key", "key": None,
              "remote_root": "~/.runicorn/experiments", "mode": "auto", "interval": 30, "manifest": True,
              "small_only": True, "large": False, "window": None, "small_limit": 1 << 20, "enabled": True,
              "budget": None, "rules": [],}
CHOICES = {"auth": ("key", "agent", "password", "system"), "mode": ("auto", "manual"),
           "window": (None, "24h", "7d")}
NUMBERS = {"port": (1, 65535), "interval": (1, 86400), "small_limit": (0, 1 << 40), "budget": (1024, 1 << 50)}
OPTIONAL = ("budget",)
FLAGS = ("manifest", "small_only", "large", "enabled")
# What OpenSSH refuses in a host or user name: it may end in a ProxyCommand's shell line, or be taken for an
# option.
UNSAFE = re.compile(r"""^-|[\s\x00-\x1f\x7f'"`$;&<>|(){}]""")
PREFERENCES = {"language": "auto", "theme": "auto", "main_metric": {}, "best_rule": {}, "charts": {}}

log = logging.getLogger("runicorn")


# -- config.json ---------------------------------------------------------------------------------------------

def load(home):
    """Return config.json in `home` (dict, empty if absent). A broken file is reported in one line and left to
    whoever mends it.

    Raises SettingsError when it is there and can't be read.
    """
    return _load(Path(home) / layout.CONFIG) or {}


def update(home, change):
    """Let `change(config)` alter the dict of config.json in place, alone among processes, and write it.
    Returns the dict.

    A broken file is kept aside, reported in one line, and a fresh one is begun. What `change` raises passes
    through and leaves the file as it was. Raises SettingsError.
    """
    return _update(Path(home) / layout.CONFIG, change)


def preferences(home):
    """Return the reader's preferences (dict: language, theme, main_metric, best_rule, charts), defaults
    filled in."""
    return _preferences(load(home))


def save_preferences(home, changes):
    """Merge `changes` (dict; dicts in it merge one level deep, None removes) into the preferences and return
    them."""
    if not isinstance(changes, dict):
        raise UsageError("preferences are a JSON object")

    def change(config):
        saved = config.get("preferences")
        config["preferences"] = _merged(saved if isinstance(saved, dict) else {}, changes, depth=2)
    return _preferences(update(home, change))


def _preferences(config):
    saved = config.get("preferences")
    chosen = {**PREFERENCES, **(saved if isinstance(saved, dict) else {})}
    return {key: value if isinstance(value, type(PREFERENCES.get(key, value))) else PREFERENCES[key]
            for key, value in chosen.items()}


def _merged(old, new, depth):
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif depth > 1 and isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value, depth - 1)
        else:
            merged[key] = value
    return merged


# -- connections ---------------------------------------------------------------------------------------------

def connections(home, otherwise=()):
    """Return the saved connections (list of dicts, defaults filled in); one that makes no sense is left out
    and reported.

    otherwise: what they are taken to be while config.json is broken (iterable of dicts).
    """
    good, config = [], _load(Path(home) / layout.CONFIG)
    if config is None:
        return list(otherwise)
    for saved in _saved(config):
        try:
            good.append(checked(saved))
        except UsageError as error:
            log.warning("%s: %s; the connection is left out", Path(home) / layout.CONFIG, error)
    return good


def connection(home, name):
    """Return the saved connection called `name`, or whose mirror folder is called so. Raises
    NotFoundError."""
    listed = connections(home)
    for saved in listed:
        if name in (saved["name"], local_names.connection_slug(saved["name"])):
            return saved
    names = (", ".join(repr(saved["name"]) for saved in listed)
             or "none; add one with `runicorn config ssh add`")
    raise NotFoundError(f"there is no connection {name!r} (known: {names})", code="not_found",
                        said="connection_gone", name=name)


def save_connection(home, changes):
    """Add the connection `changes` (dict), or merge it into the saved one of its name. Returns it whole.
    Raises UsageError."""
    saved = None

    def change(config):
        nonlocal saved
        listed = _saved(config)
        old = next((entry for entry in listed if entry.get("name") == changes.get("name")), {})
        saved = checked({**old, **changes})
        _refuse_twin(saved, listed)
        config["connections"] = ([saved if entry is old else entry for entry in listed]
                                 + ([] if old else [saved]))
    update(home, change)
    return saved


def remove_connection(home, name):
    """Forget the connection called `name`; its mirror stays. Raises NotFoundError."""
    name = connection(home, name)["name"]

    def change(config):
        config["connections"] = [entry for entry in _saved(config) if entry.get("name") != name]
    update(home, change)


def checked(settings):
    """Return the connection `settings` (dict) with every default filled in, secrets left out, unknown keys
    kept.

    Raises UsageError naming the field that is missing or makes no sense.
    """
    connection = {**CONNECTION, **{key: value for key, value in settings.items() if key not in SECRETS}}
    for field in ("host", "user"):
        connection[field] = _text(connection, field)
    connection = taken_apart(connection)
    connection["name"] = _text(connection, "name") or connection["host"]
    if not connection["host"]:
        raise UsageError("a connection needs a host (server address)", code="usage", said="host_missing")
    for field in ("host", "user"):
        if UNSAFE.search(connection[field]):
            raise UsageError(f"{field} {connection[field]!r} holds characters that SSH does not allow there",
                             code="usage", said="field_unsafe", field=field, value=connection[field])
    if re.search("[@/]", connection["host"]):
        raise UsageError(f"host {connection['host']!r} is no name or address of a server: paste it as "
                         f"user@host:port, or the host alone",
                         code="usage", said="host_odd", host=connection["host"])
    for field, choices in CHOICES.items():
        if connection[field] not in choices:
            raise UsageError(f"{field} is {connection[field]!r}; it may be {', '.join(map(str, choices))}",
                             code="usage", said="field_choice", field=field, value=repr(connection[field]),
                             choices=", ".join(map(str, choices)))
    for field in FLAGS:
        if not isinstance(connection[field], bool):
            raise UsageError(f"{field} is {connection[field]!r}; it may be true or false")
    for field, (low, high) in NUMBERS.items():
        connection[field] = _whole(connection, field, low, high)
    connection["key"] = _text(connection, "key") or None
    connection["rules"] = rules.checked(connection["rules"] or [])
    connection["remote_root"] = _text(connection, "remote_root") or CONNECTION["remote_root"]
    return connection


PASTED = re.compile(
    r"(?P<uri>(?:ssh|sftp)://)?(?:(?P<user>[^/]+)@)?(?P<host>\[[^\]]+\]|[^:/@\[\]]+)(?::(?P<port>\d+))?"
    r"(?:/(?P<below>.*)|:(?P<path>(?!\d+$|//)[^:].*))?")


def taken_apart(connection):
    """Return a connection (dict) whose host, where it was pasted as "user@host:port", "ssh://user@host:port",
    "[address]" or, as scp has it, "user@host:path", is the host alone, with user, port and remote_root in
    their own fields. Raises UsageError where those are given and differ, and for a password."""
    pasted = PASTED.fullmatch(connection.get("host") or "")
    if (not pasted or pasted["host"] == connection["host"] and "[" not in connection["host"]
            or _is_address(connection["host"])):
        return connection                # a plain name or address; IPv6 has colons of its own
    if ":" in (pasted["user"] or ""):
        raise UsageError("the host holds a password: leave it out, it is asked for and never kept in a file",
                         code="usage", said="host_password")
    if pasted["below"] and not pasted["uri"]:
        return connection
    if pasted["uri"] and (pasted["path"] or pasted["below"]):
        raise UsageError(f"the host {connection['host']!r} ends in a path: leave it out, and say it as the "
                         f"remote root", code="usage",
                         said="host_path", host=connection["host"])
    path = pasted["path"] and (pasted["path"] if pasted["path"][0] in "/~" else f"~/{pasted['path']}")
    parts = {"user": pasted["user"], "port": int(pasted["port"]) if pasted["port"] else None,
             "remote_root": path}
    parts = {field: value for field, value in parts.items() if value is not None}
    for field, value in parts.items():
        if connection.get(field, CONNECTION[field]) not in (CONNECTION[field], value):
            raise UsageError(f"the host {connection['host']!r} says {field} {value}, and the {field} is "
                             f"{connection[field]}: " "which is right?", code="usage", said="host_twice",
                             host=connection["host"], field=field, value=str(value),
                             other=str(connection[field]))
    return {**connection, "host": pasted["host"].strip("[]"), **parts}


def _is_address(text):
    import ipaddress
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def fits(changes, listed=()):
    """Raise UsageError if what is `changes` of a connection so far (dict) can't be saved, beside those
    `listed` (dicts)."""
    connection = checked({"host": "not-said-yet", **changes})
    if "name" in changes:
        _refuse_twin(connection, listed)


def _text(connection, field):
    value = connection[field]
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value or "\n" in value:
        raise UsageError(f"{field} is {value!r}; it must be one line of text", code="usage",
                         said="field_text", field=field, value=repr(value))
    if LONE.search(value):
        remedy = ("; make a link to that folder on the server (ln -s) and give the path of the link"
                  if field == "remote_root" else "")
        raise UsageError(f"{field} is {visible(value)}, which is no UTF-8, and a settings file is{remedy}")
    return value.strip()


def _whole(connection, field, low, high):
    value = connection[field]
    if value is None and field in OPTIONAL:
        return None
    integral = (isinstance(value, int) and not isinstance(value, bool) or isinstance(value, float)
                and value.is_integer())
    if not integral or not low <= value <= high:
        raise UsageError(f"{field} is {value!r}; it must be a whole number from {low} to {high}",
                         code="usage", said="field_whole", field=field, value=repr(value), low=str(low),
                         high=str(high))
    return int(value)


def _refuse_twin(saved, listed):
    folder = local_names.connection_slug(saved["name"])
    for twin in listed:
        if (twin.get("name") != saved["name"]
                and local_names.connection_slug(str(twin.get("name") or twin.get("host"))) == folder):
            raise UsageError(f"{saved['name']!r} would share the folder {folder} with {twin['name']!r}; "
                             f"choose another name",
                             code="usage", said="name_taken", taken=twin["name"])


def _saved(config):
    listed = config.get("connections")
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


# -- overlay.json --------------------------------------------------------------------------------------------

class Overlay:
    """What the reader noted about runs, by key: own tags, a note, hidden. The run's own files are never
    touched. Any thread may call any method."""

    EMPTY = {"tags": None, "note": None, "hidden": False}       # None: what the run itself says

    def __init__(self, home, clock=time.monotonic):
        self._path = Path(home) / OVERLAY
        self._clock = clock
        self._lock = threading.Lock()
        self._runs, self._mark, self._looked = {}, None, None

    def get(self, key):
        """Return {"tags": [str]|None, "note": str|None, "hidden": bool} of the run `key`; None: not changed
        here."""
        with self._lock:
            self._refresh()
            return {**self.EMPTY, **self._runs.get(key, {})}

    def all(self):
        """Return {key: what was changed} of every run that has an entry; not to be altered."""
        with self._lock:
            self._refresh()
            return self._runs

    def set(self, key, **changes):
        """Change tags (list of str), note (str) or hidden (bool) of the run `key` and return what get() gives
        now.

        None takes the run's own again. Raises UsageError for another field or type, SettingsError if it can't
        be written.
        """
        _refuse_overlay(changes)

        def change(overlay):
            runs = overlay.get("runs") if isinstance(overlay.get("runs"), dict) else {}
            entry = _merged(runs.get(key) or {}, changes, depth=1)
            runs = {**runs, key: entry}
            overlay["runs"] = runs if entry else {run_key: runs[run_key]
                                                  for run_key in runs if run_key != key}
        written = _update(self._path, change)
        with self._lock:
            self._runs, self._looked = written["runs"], None
            return {**self.EMPTY, **self._runs.get(key, {})}

    def rename(self, moved):
        """Runs are called otherwise now, {old key: new key}: what was noted about them goes with them. Raises
        SettingsError."""
        if not moved.keys() & self.all().keys():
            return

        def change(overlay):
            runs = overlay.get("runs") if isinstance(overlay.get("runs"), dict) else {}
            for old in moved.keys() & runs.keys():
                entry, newer = runs.pop(old), runs.get(moved[old], {})
                runs[moved[old]] = ({**entry, **newer} if isinstance(entry, dict) and isinstance(newer, dict)
                                    else entry)
            overlay["runs"] = runs
        with self._lock:
            self._runs, self._looked = _update(self._path, change)["runs"], None

    def _refresh(self):
        now = self._clock()
        if self._looked is not None and now - self._looked < STALE_SECONDS:
            return
        self._looked = now
        mark = file_stamp(self._path)
        if mark != self._mark:
            self._mark = mark
            overlay = _load(self._path)
            if overlay is None:
                return              # what it said before holds until it is mended
            runs = overlay.get("runs")
            self._runs = ({key: _noted(entry) for key, entry in runs.items() if isinstance(entry, dict)}
                          if isinstance(runs, dict) else {})


def _noted(entry):
    """Return what fits of an entry that an editor, or another Runicorn, wrote."""
    fits = {"tags": lambda tags: isinstance(tags, list) and all(isinstance(tag, str) for tag in tags),
            "note": lambda note: isinstance(note, str), "hidden": lambda hidden: isinstance(hidden, bool)}
    return {field: value for field, value in entry.items() if field in fits and fits[field](value)}


def _refuse_overlay(changes):
    for field, value in changes.items():
        good = {"tags": isinstance(value, list) and all(isinstance(tag, str) for tag in value),
                "note": isinstance(value, str), "hidden": isinstance(value, bool)}
        if field not in good:
            raise UsageError(f"{field} can't be changed here; tags, note and hidden can")
        if value is not None and not good[field]:
            raise UsageError(f"{field} is {value!r}; it may be a list of text (tags), text (note), true or "
                             f"false (hidden)")


# -- files ---------------------------------------------------------------------------------------------------

def _load(path):
    """Return the JSON object in a file (dict, empty if it is absent or empty), None where it is broken, which
    is reported once."""
    value, trouble = _read(path)
    stamp = (path, trouble, file_stamp(path))
    if trouble and stamp not in _reported:
        _reported.add(stamp)
        log.warning("%s%s; nothing in it counts until it is mended", path, trouble)
    return None if trouble else value


_reported = set()


def _read(path):
    """Return (JSON object, what is wrong with it or None), read once more while somebody seems to be writing
    it in place."""
    until = time.monotonic() + SAVING_SECONDS
    while True:
        try:
            raw = disk.patiently(layout.read_regular, path)
            being_saved = abs(time.time() - path.stat().st_mtime) < SAVING_SECONDS
        except FileNotFoundError:
            return {}, None
        except OSError as error:
            raise SettingsError(f"{path} can't be read: {error.strerror}", code="settings", said="file_read",
                                path=str(path), detail=str(error.strerror)) from error
        value, trouble = _parsed(raw)
        if raw and not trouble or not being_saved or time.monotonic() > until:
            return value, trouble
        time.sleep(0.02)


def _parsed(raw):
    try:
        value, trouble = json.loads(raw or b"{}"), " is no JSON object"
    except json.JSONDecodeError as error:
        value, trouble = None, f":{error.lineno} is no JSON ({error.msg})"
    except (ValueError, RecursionError):
        value, trouble = None, " is no text in UTF-8, or nested without end"
    return (value, None) if isinstance(value, dict) else (None, trouble)


def file_stamp(path):
    """Return what changes when a file is written (tuple), None while there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _put_aside(path, trouble):
    aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        disk.replace(path, aside)
    except OSError as error:
        raise SettingsError(f"{path}{trouble} and can't be moved aside: {error.strerror}") from error
    log.warning("%s%s; it is kept as %s and a fresh one is begun", path, trouble, aside.name)


def _update(path, change):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with local_disk.locked(path):
            value, trouble = _read(path)
            if trouble:
                _put_aside(path, trouble)
                value = {}
            change(value)
            text = json.dumps(layout.strict(value), ensure_ascii=False, indent=1) + "\n"
            # a link, as to dotfiles, stays one
            layout.replace_file(os.path.realpath(path), encode_json(text), mode=PRIVATE)
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror}", code="settings", said="file_write",
                            path=str(path), detail=str(error.strerror)) from error
    return value
