"""`runicorn sync`: mirror runs without a browser. Draws what the connections say; answers their questions at
the terminal."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import left_out
from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import Branch, size
from runicorn.errors import LineError, RemoteError, SyncError, UsageError
from runicorn.layout import home_dir

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from typing import Any

    from runicorn.cli.parser import Parser
    from runicorn.connections.registry import Registry
    from runicorn.news import Bell

EXAMPLES = {"sync": "runicorn sync start --connection \"GPU Server 1\""}
TICK_SECONDS = 0.5      # how often the progress line moves
SAID = 5                # files named in one sentence
STOPPED = ("paused", "offline", "refused")
SETTLED = ("live", *STOPPED)
# Objects between two collections: ten thousand runs are loaded in half the time that 700 takes
YOUNG = 50_000


def add_sync(parser: Parser) -> None:
    branch = Branch(parser)
    start = branch.add("start", "synchronise until Ctrl+C", 'runicorn sync start --connection "GPU Server 1"',
                       sync_start)
    once = branch.add("once", "bring the mirror up to date, then end",
                      'runicorn sync once --connection "GPU Server 1"', sync_once)
    once.add_argument("--verify", action="store_true",
                      help="also compare whole files, not only sizes and ends")
    status = branch.add("status", "what the connections do", "runicorn sync status", sync_status)
    for command in (start, once, status):
        command.add_argument("--connection", action="append", metavar="NAME",
                             help="this connection; may be repeated")
        command.add_argument("--all", action="store_true",
                             help="every connection (the default where there is only one)")
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    for command in (start, once):
        command.add_argument("--cache-size", type=size, metavar="SIZE",
                             help="most the mirrors may take on this disk, such as 1GB")


def chosen(connections: Registry, options: Namespace, default_all: bool = False) -> list[str]:
    """Return the names asked for. Raises UsageError when that is not clear, NotFoundError for an unknown
    one."""
    if options.connection:
        return [connections.row(name)["name"] for name in options.connection]
    names = [row["name"] for row in connections.list()]
    if not names:
        raise UsageError("there is no connection yet; add one: runicorn config ssh add")
    if len(names) > 1 and not (options.all or default_all):
        raise UsageError(f"which connection? --connection with one of {', '.join(map(repr, names))}, or "
                         f"--all")
    return names


@contextlib.contextmanager
def at_work(offline: bool = False, cache_size: Any = None) -> Iterator[Any]:
    """The connections of this home as (Bell, Registry); their threads and lines end with the block."""
    gc.set_threshold(YOUNG)
    from runicorn.connections.registry import Registry
    from runicorn.news import Bell
    bell = Bell()
    connections = Registry(home_dir(), bell, offline=offline, cache_size=cache_size)
    try:
        yield bell, connections
    finally:
        connections.stop()


# -- start and once ------------------------------------------------------------------------------------------

def sync_start(options):
    """Synchronise until Ctrl+C or its like; only a refused login or host key on every connection ends it
    before."""
    dialogue.end_as_ctrl_c_does()
    with at_work(cache_size=options.cache_size) as (bell, connections):
        names = chosen(connections, options)
        try:
            begin(connections, names)
            for rows in watch(bell, connections, names, Screen(options.json)):
                if all(row["state"] == "refused" for row in rows):
                    raise RemoteError(reasons(rows))
        except KeyboardInterrupt:
            print()


def sync_once(options: Namespace) -> None:
    """Synchronise until every connection is up to date. Raises LineError or RemoteError when one can't be."""
    with at_work(cache_size=options.cache_size) as (bell, connections):
        names = chosen(connections, options)
        begin(connections, names)
        screen = Screen(options.json, failures=False)
        for rows in watch(bell, connections, names, screen):
            if all(row["state"] in SETTLED for row in rows):
                break
        screen.end()
        failed = [row for row in rows if row["state"] != "live" and not foreign(row)]
        if failed:
            raise (LineError if all(row["state"] == "offline" for row in failed)
                   else RemoteError)(reasons(failed))
        if options.verify:
            verify(connections, names)
        for row in rows:
            say_passed(row)
        missing = [text for row in rows for text in not_here(row)]
        if missing:
            raise SyncError("; ".join(missing))


def not_here(row: dict[str, Any]) -> Iterator[Any]:
    """Yield a sentence on the files that could not come; what the limit keeps away stays away because the
    user said so."""
    files = [(f"{path}/{name}", why) for path, names in left_out.read(Path(row["folder"])).items()
             for name, why in names.items()]
    failed = [f"{terminal.clean(name)} ({terminal.clean(why.get('text', ''))})"
              for name, why in files if why.get("code") != "no_room"]
    if failed:
        more = f" and {len(failed) - SAID} more" if len(failed) > SAID else ""
        yield f"{row['name']}: all is here but {', '.join(failed[:SAID])}{more}"


def say_passed(row: dict[str, Any]) -> None:
    """Say what is on the server and not mirrored because of its name, place or kind."""
    passed = left_out.read_passed(Path(row["folder"]))
    if passed:
        print(f"{row['name']}: passed over there: {terminal.clean(left_out.passed_text(passed))}",
              file=sys.stderr)


def begin(connections: Registry, names: list[str]) -> None:
    """Start the connections; one that was paused or is not automatic goes on because it was asked for by
    name."""
    connections.start_all(only=names)
    for name in names:
        connections.sync_now(name)


def watch(bell: Bell, connections: Registry, names: list[str], screen: Screen) -> Iterator[Any]:
    """Show the rows of `names` as they change, answer their questions, and give each state of them to the
    caller."""
    while True:
        news = bell.now()
        rows = [connections.row(name) for name in names]
        screen.show(rows)
        for row in rows:
            if row["question"]:
                answer(connections, row["question"])
        yield rows
        bell.wait(news, ["connections"], TICK_SECONDS)


def answer(connections, question):
    """Relay a host key question or a server's prompt to the person at the terminal."""
    comparison = question.get("comparison")
    if not dialogue.is_terminal(sys.stdin):
        hint = f"It is the server's if `{comparison}` shows the same there. " if comparison else ""
        raise UsageError(f"the server asks: {terminal.clean(question['prompt'])} {hint}Nobody is at the "
                         f"terminal to answer; "
                         "run this once in a terminal, or answer on the settings page of `runicorn viewer`")
    print()
    if question["kind"] == "host_key":
        print(f"{terminal.clean(question['host'])} shows the {question['key_type']} key "
              f"{question['fingerprint']}, not seen here before.")
        print("Compare it with what the server's administrator gave you"
              + (", or run on the server:" if comparison else "."))
        if comparison:
            print(f"  {comparison}")
        if dialogue.confirm("Is it the server's?"):
            return connections.trust(question["id"])
        return connections.answer(question["id"], "")
    return connections.answer(question["id"],
                              dialogue.ask(terminal.clean(question["prompt"]).rstrip(": "),
                                           secret=not question["echo"]))


def foreign(row: dict[str, Any]) -> bool:
    """Whether another process synchronises this connection."""
    return bool(row.get("owner")) and not row["owner"]["ours"]


def reasons(rows: list[dict[str, Any]]) -> str:
    return "; ".join(f"{row['name']}: {terminal.clean(row['reason']['text'])}" for row in rows)


def verify(connections: Registry, names: list[str]) -> None:
    for name in names:
        report = connections.verify(name)
        terminal.say(f"✓ {name}: {report['files']} files compared whole, {report['refetched']} fetched again")


# -- what is shown -------------------------------------------------------------------------------------------

class Screen:
    """Draws rows: one moving line on a terminal, a line a change elsewhere, or JSON. failures: whether those
    have a line; where they end the command, its last words say them."""

    def __init__(self, as_json: bool = False, failures: bool = True) -> None:
        self._json, self._failures, self._line, self._printed = as_json, failures, dialogue.Line(), {}

    def show(self, rows: list[dict[str, Any]]) -> None:
        if self._json:
            return self._changes(rows, lambda row: dialogue.json_text(public(row)), print)
        settled = [row for row in rows if self._failures or foreign(row) or row["state"] not in STOPPED]
        self._changes(settled, settled_text, lambda text: self._line.show(text, final=True))
        return self._line.show("   ".join(moving_text(row) for row in rows))

    def end(self) -> None:
        """Leave the moving line behind: what is printed next, a prompt too, begins a line of its own."""
        if not self._json:
            self._line.clear()

    def _changes(self, rows, text_of, put):
        for row in rows:
            text = text_of(row)
            if text and self._printed.get(row["name"]) != text:
                self._printed[row["name"]] = text
                put(text)


def public(row):
    """Return what a script may watch of a row: what changes without anything having happened is left out."""
    return {key: row[key] for key in ("name", "slug", "state", "reason", "runs", "running", "progress",
                                      "owner", "folder")}


def settled_text(row: dict[str, Any]) -> str | None:
    """Return the line that stays when a connection's state changed; None while it only moves."""
    name, text = row["name"], terminal.clean(row["reason"]["text"])
    if foreign(row):
        return f"{name}: synchronised by process {row['owner']['pid']}; following it"
    if row["state"] == "live" and not row["runs"]:
        empty = text if row["reason"]["code"] == "no_root" else f"live, 0 runs in {row['remote_root']}"
        return "\n".join([f"{name}: {empty}", *offers(row)])
    if row["state"] == "live":
        partly = f"; {text}" if row["reason"]["code"] == "live_partly" else ""
        runs = f"{row['runs']} run{'' if row['runs'] == 1 else 's'}"
        return f"✓ {name}: live, {runs}, {row['running']} running; mirror {row['folder']}{partly}"
    if row["state"] in SETTLED:
        blocked = row["state"] != "paused" or row["reason"]["code"] in ("disk", "disk_full", "short")
        return f"✗ {name}: {row['state']}: {text}" if blocked else f"{name}: paused"
    return f"{name}: {row['state']}" if row["state"] == "syncing" else None


def offers(row: dict[str, Any]) -> list[str]:
    """Return a line for each other folder of the server that holds runs, with the command that takes it."""
    return [f"  {offer['runs']} in {terminal.clean(offer['root'])}: use it with "
            f'runicorn config ssh add --name "{row["name"]}" --remote-root "{terminal.clean(offer["root"])}"'
            for offer in row.get("offer") or ()]


def moving_text(row: dict[str, Any]) -> str:
    """Return what a connection does now, in one short piece with its progress."""
    progress = row["progress"]
    if not progress or row["state"] != "syncing":
        since = f", last news {max(0, time.time() - row['last_news']):.0f} s ago" if row["last_news"] else ""
        return f"{row['name']} {row['state']}{since}"
    share = progress["bytes_done"] / max(progress["bytes_total"], 1)
    rate = f" {dialogue.size_text(progress['rate'])}/s" if progress.get("rate") else ""
    remaining = f" {terminal.duration_text(progress['left'])} left" if progress.get("left") else ""
    return (f"{row['name']} {dialogue.bar(share)} {progress['files_done']}/{progress['files_total']} files "
            f"{dialogue.size_text(progress['bytes_done'])} of "
            f"{dialogue.size_text(progress['bytes_total'])}{rate}{remaining}")


# -- status --------------------------------------------------------------------------------------------------

def sync_status(options: Namespace) -> None:
    with at_work(offline=True) as (_, connections):
        rows = [connections.row(name) for name in chosen(connections, options, default_all=True)]
    rows = as_viewers_say(rows, home_dir())
    if options.json:
        for row in rows:
            print(dialogue.json_text(public(row)))
        return
    lines = [[row["name"], status_text(row), str(row["runs"]), str(row["running"]), news_text(row),
              row["folder"]] for row in rows]
    for line in dialogue.table(["NAME", "STATE", "RUNS", "RUNNING", "LAST NEWS", "MIRROR"], lines,
                               terminal.columns()):
        terminal.say(line)
    for row in rows:
        if is_stopped_elsewhere(row):
            terminal.say(f"{row['name']}: {terminal.clean(row['reason']['text'])}")


def as_viewers_say(rows: list[dict[str, Any]], home: Path) -> list[dict[str, Any]]:
    """Return the rows, those that a viewer beside us synchronises as that has them."""
    if not any(map(foreign, rows)):
        return rows
    from runicorn.reader import viewer_client
    answers = [viewer_client.asked(note, "/api/connections") or {} for note in viewer_client.notes(home)]
    theirs = {row["slug"]: row for answer in answers for row in answer.get("connections", ())
              if (row.get("owner") or {}).get("ours")}
    return [{**theirs[row["slug"]], "owner": row["owner"], "by_viewer": True}
            if foreign(row) and row["slug"] in theirs else row for row in rows]


def is_stopped_elsewhere(row: dict[str, Any]) -> bool:
    """Whether the viewer that has this connection says that it does not come through."""
    return bool(row.get("by_viewer")) and row["state"] in STOPPED


def status_text(row: dict[str, Any]) -> str:
    if is_stopped_elsewhere(row):
        return f"{row['state']}, process {row['owner']['pid']}"
    if foreign(row):
        return f"synchronised by process {row['owner']['pid']}"
    return "not synchronised now" if row["state"] in ("offline", "paused") else row["state"]


def news_text(row: dict[str, Any]) -> str:
    return f"{terminal.duration_text(time.time() - row['last_news'])} ago" if row["last_news"] else "never"
