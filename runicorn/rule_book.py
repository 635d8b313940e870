"""Where rules of one's own are kept: with a connection, or, of folders of this machine, in "rules" of
config.json by folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from runicorn import layout, local_names, rules, settings
from runicorn.errors import RunicornError, UsageError

NONE = rules.made(())
log = logging.getLogger("runicorn")


class RuleBook:
    """The rules as config.json has them now. For any thread."""

    def __init__(self, home):
        self._home, self._stamp, self._tables = Path(home), (), ({}, {})

    def of_folder(self, folder):
        """Return the foreign_rules.Rules for a root on this machine: those of the nearest folder that is the
        root or holds it."""
        folders, mirrors = self._read()
        if not (folders or mirrors):
            return NONE
        root = os.path.abspath(folder)
        cache = os.path.join(os.path.abspath(self._home), "cache", "")
        if root.startswith(cache):
            slug, _, below = root[len(cache):].partition(os.sep)
            return _made(mirrors.get(slug, ()), below)
        above = root
        while above not in folders and os.path.dirname(above) != above:
            above = os.path.dirname(above)
        return _made(folders.get(above, ()), os.path.relpath(root, above))

    def of_mirror(self, slug):
        """Return the Rules of the connection whose mirror is called `slug`."""
        return _made(self._read()[1].get(slug, ()))

    def _read(self):
        """Return ({folder: rules}, {slug: rules}); what makes no sense is reported once and left out."""
        stamp = settings.file_stamp(self._home / layout.CONFIG)
        if stamp != self._stamp:
            folders = {}
            for folder, listed in of_folders(settings.load(self._home) if stamp else {}).items():
                try:
                    folders[os.path.abspath(folder)] = rules.checked(listed)
                except UsageError as error:
                    log.warning("%s: %s; the rules of %s are left out", self._home / layout.CONFIG, error,
                                folder)
            listed = settings.connections(self._home) if stamp else ()
            mirrors = {local_names.connection_slug(saved["name"]): saved["rules"]
                       for saved in listed if saved["rules"]}
            self._tables, self._stamp = (folders, mirrors), stamp
        return self._tables


def _made(listed, below="."):
    return (rules.made(listed, "" if below in (".", "") else below.replace(os.sep, "/") + "/") if listed
            else NONE)


def of_folders(config):
    """Return {folder: rules} as config.json (dict) has them (dict)."""
    listed = config.get("rules")
    return listed if isinstance(listed, dict) else {}


def save(home, listed, folder=None, connection=None):
    """Set the rules (list of dicts) of a folder of this machine, or of the connection of a name, and return
    them. Raises RunicornError."""
    listed = rules.checked(listed)
    if connection is not None:
        return settings.save_connection(home,
                                        {"name": settings.connection(home, connection)["name"],
                                         "rules": listed})["rules"]

    def change(config):
        folder_path, folders = os.path.abspath(folder), of_folders(config)
        without = {name: rules for name, rules in folders.items() if name != folder_path}
        config["rules"] = {**folders, folder_path: listed} if listed else without
    settings.update(home, change)
    return listed


def kept(home, folder=None, connection=None):
    """Return the rules (list of dicts) that are set for a folder of this machine itself, or for a connection.
    Raises RunicornError."""
    if connection is not None:
        return settings.connection(home, connection)["rules"]
    try:
        return rules.checked(of_folders(settings.load(home)).get(os.path.abspath(folder), []))
    except RunicornError as error:
        raise UsageError(f"{Path(home) / layout.CONFIG}: {error}") from error
