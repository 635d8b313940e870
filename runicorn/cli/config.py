"""`runicorn config`: show and set preferences, and keep the SSH connections. Passwords are never asked here:
they live in memory only."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import Branch, age, port
from runicorn.cli.rules import add_rules
from runicorn.errors import LineError, UsageError
from runicorn.layout import home_dir
from runicorn.local_names import connection_slug

if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from runicorn.cli.parser import Parser

EXAMPLES = {"config": "runicorn config ssh add"}
AUTH = ("key", "agent", "password", "system")
ELSEWHERE = {"connections": "`runicorn config ssh add`, `list` and `remove`",
             "rules": "`runicorn config rule add`, `list` and `remove`"}
HIDDEN_KEYS = ("password", "passphrase")        # never written by us; a hand-edited file may hold them


def add_config(parser: Parser) -> None:
    branch = Branch(parser)
    branch.add("show", "print config.json and where it is", "runicorn config show", show)
    setter = branch.add("set", "set one value of config.json", "runicorn config set root /data/experiments",
                        set_value)
    setter.add_argument("key", help="such as root, or preferences.language")
    setter.add_argument("value", help="JSON, or plain text")
    add_ssh(branch.add("ssh", "SSH connections", "runicorn config ssh add"))
    add_rules(branch.add("rule", "rules of your own for logs of other tools", "runicorn config rule list"))


def add_ssh(parser: Any) -> None:
    branch = Branch(parser)
    add = branch.add("add", "add or change a connection; asks for what is not given",
                     'runicorn config ssh add --name "GPU Server 1" --host gpu-server.example.com --user '
                     'alice '
                     "--key ~/.ssh/id_rsa --remote-root /data/experiments", ssh_add)
    for flag, about in (("name", "what you call it"),
                        ("host", "host name, address, or a Host of ~/.ssh/config"),
                        ("user", "user name on the server"), ("key", "private key file"),
                        ("remote-root",
                         "the folder of runs on the server (default ~/.runicorn/experiments)")):
        add.add_argument(f"--{flag}", help=about)
    add.add_argument("--port", type=port, help="SSH port (default 22)")
    add.add_argument("--auth", choices=AUTH, help="key, agent, password, or the system's own ssh")
    add.add_argument("--interval", type=age, help="how often the index is refreshed (default 30s)")
    add.add_argument("--window", choices=("24h", "7d", "all"),
                     help="only runs active within this time (default all)")
    listing = branch.add("list", "list the connections", "runicorn config ssh list", ssh_list)
    listing.add_argument("--json", action="store_true")
    test = branch.add("test", "try a connection, line by line", 'runicorn config ssh test "GPU Server 1"',
                      ssh_test)
    test.add_argument("name")
    remove = branch.add("remove", "forget a connection; its mirror stays unless --drop-cache",
                        'runicorn config ssh remove "GPU Server 1"', ssh_remove)
    remove.add_argument("name")
    remove.add_argument("--drop-cache", action="store_true", help="delete its mirror on this machine too")
    remove.add_argument("--yes", action="store_true", help="don't ask")


# -- values --------------------------------------------------------------------------------------------------

def show(options: Namespace) -> None:
    from runicorn import settings
    home = home_dir()
    config = settings.load(home)
    print(f"# {home / 'config.json'}", file=sys.stderr)
    print(dialogue.json_text(without_secrets(config), indent=2))


def without_secrets(value):
    """Return JSON data without the values of password-like keys."""
    if isinstance(value, dict):
        return {key: "…" if key in HIDDEN_KEYS else without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def set_value(options: Namespace) -> None:
    from runicorn import settings
    _refuse_unknown(options.key, settings.PREFERENCES)
    try:
        value = json.loads(options.value)
    except ValueError:
        value = options.value
    settings.update(home_dir(), lambda config: set_path(config, options.key.split("."), value))
    print(f"{options.key} = {dialogue.json_text(value)}")


def _refuse_unknown(key, preferences):
    """Raise UsageError for a key that nothing reads. preferences: those there are, with their defaults."""
    top, *below = key.split(".")
    if top in ELSEWHERE:
        raise UsageError(f"{top} are kept with {ELSEWHERE[top]}")
    if top == "root" or top == "preferences" and below and below[0] in preferences:
        return
    import difflib
    known = ["root", *(f"preferences.{name}" for name in preferences)]
    close = difflib.get_close_matches(key, known, n=2) or [name for name in known
                                                           if name.endswith(f".{key.rpartition('.')[2]}")]
    raise UsageError(f"there is no setting {key}: " + (f"did you mean {' or '.join(close)}?" if close
                                                       else f"there are {', '.join(known)}"))


def set_path(config: dict[str, Any], keys: list[str], value: int | str) -> None:
    """Set kept[k1][k2]… = value in a nested dict. Raises UsageError where a key on the way is no group."""
    *groups, last = keys
    for key in groups:
        config = config.setdefault(key, {})
        if not isinstance(config, dict):
            raise UsageError(f"{key} is a plain value, not a group")
    config[last] = value


# -- connections ---------------------------------------------------------------------------------------------

def ssh_add(options: Namespace) -> None:
    from runicorn import settings
    home = home_dir()
    fields = ("name", "host", "port", "user", "auth", "key", "remote_root")
    options_given = {field: getattr(options, field)
                     for field in fields if getattr(options, field) is not None}
    if options.interval:
        options_given["interval"] = int(options.interval)
    if options.window:
        options_given["window"] = None if options.window == "all" else options.window
    if options.key and not options.auth:
        options_given["auth"] = "key"
    options_given = settings.taken_apart(options_given)
    settings.fits(options_given)
    listed = settings.connections(home)
    saved_names = {entry["name"]: entry for entry in listed}
    if "host" not in options_given and options_given.get("name") not in saved_names:
        options_given = asked(options_given, listed)
    if options_given.get("key"):
        options_given["key"] = whole_path(options_given["key"])
    saved = settings.save_connection(home, {"name": options_given.get("host"), **options_given})
    name = saved["name"]
    terminal.say(f'✓ {"changed" if name in saved_names else "saved"} "{name}"; its mirror is '
                 f'{home / "cache" / connection_slug(name)}')
    print(f'  try it:   runicorn config ssh test "{name}"')
    print(f'  start it: runicorn sync start --connection "{name}"    (or open `runicorn viewer`)')


def whole_path(key):
    """Return where a key file is, whatever folder somebody connects from: `~` and ssh's %-words stay. Says
    so where nothing is there."""
    if not key.startswith(("~", "%")):
        key = os.path.abspath(key)
    if "%" not in key and not os.path.exists(os.path.expanduser(key)):
        print(f"there is no key file {key} yet", file=sys.stderr)
    return key


def asked(answers, listed):
    """Return `answers` with an answer for each field it lacks, in the order of the settings page; what can't
    be is asked for again.

    listed: the connections there are. Raises UsageError without a terminal.
    """
    if not dialogue.is_terminal(sys.stdin):
        raise UsageError("a connection needs at least --host; `runicorn config ssh add --help` shows a "
                         "whole line")
    from runicorn import settings
    from runicorn.ssh import user_config
    answers, hosts = dict(answers), user_config.hosts()

    def field(key, prompt, default=None, check=str):
        while key not in answers:
            answer = dialogue.ask(prompt, default)
            try:
                value = {key: check(answer)} if answer else {}
                settings.fits({**answers, **value}, listed)
                answers.update(value)
            except (ArgumentTypeError, UsageError) as error:
                print(f"  {error}")
    if hosts and "host" not in answers:
        print(f"Hosts of ~/.ssh/config: {', '.join(hosts[:12])}")
    field("host", "Host (name, address, or a Host of ~/.ssh/config)")
    answers = settings.taken_apart(answers)
    config = user_config.lookup(answers["host"], commands=False)
    field("name", "Name of the connection", answers["host"])
    field("port", "Port", str(config["port"]), port)
    field("user", "User", config["user"])
    field("auth", f"Login by ({', '.join(AUTH)})", "key", auth)
    if answers["auth"] == "key":
        field("key", "Key file", (config.get("identityfile") or ["~/.ssh/id_rsa"])[0])
    field("remote_root", "Folder of runs on the server", "~/.runicorn/experiments")
    return answers


def auth(text):
    """Return one of AUTH. Raises ArgumentTypeError for anything else."""
    if text not in AUTH:
        raise ArgumentTypeError(f"it may be {', '.join(AUTH)}")
    return text


def ssh_list(options: Namespace) -> None:
    from runicorn import settings
    entries = settings.connections(home_dir())
    if options.json:
        return print(dialogue.json_text(without_secrets(entries), indent=2))
    if not entries:
        return print("no connections yet; add one: runicorn config ssh add")
    rows = [[entry["name"], f"{entry.get('user') or ''}@{entry['host']}:{entry.get('port', 22)}".lstrip("@"),
             entry.get("auth", ""), entry.get("remote_root", ""), connection_slug(entry["name"])]
            for entry in entries]
    for line in dialogue.table(["NAME", "SERVER", "LOGIN", "REMOTE ROOT", "MIRROR"], rows,
                               terminal.columns()):
        terminal.say(line)
    return None


def ssh_remove(options):
    from runicorn.cli.sync import at_work
    with at_work(offline=True) as (_, connections):
        row = connections.row(options.name)
        if (options.drop_cache and not options.yes
                and not dialogue.confirm(f"Delete the mirror {row['folder']} too?")):
            return 1
        connections.remove(row["name"], drop_cache=options.drop_cache)
    rest_of_it = ("its mirror is deleted" if options.drop_cache
                  else f"its mirror stays viewable in {row['folder']}")
    return terminal.say(f'✓ removed "{row["name"]}"; {rest_of_it}')


def ssh_test(options: Namespace) -> int:
    from runicorn.cli.sync import answer, at_work, offers
    with at_work() as (bell, connections):
        name = connections.row(options.name)["name"]
        test, shown = connections.test(name), 0
        while True:
            news, state = bell.now(), connections.test_state(test)
            for line in state["lines"][shown:]:
                tell(line)
            shown = len(state["lines"])
            if state["question"]:
                answer(connections, state["question"])
            if state["done"]:
                break
            bell.wait(news, [f"test:{test}"], 1)
    for line in offers({"name": name, "offer": state["offer"]}):
        terminal.say(line)
    terminal.say("✓ connected" if state["ok"] else "✗ not connected")
    return 0 if state["ok"] else LineError.exit_code


def tell(line: dict[str, Any]) -> None:
    """Print one line of the test: its mark, what was tried, and the advice below it."""
    mark = {True: "✓", False: "✗", None: "·"}[line["ok"]]
    spent = f" ({line['ms']:.0f} ms)" if line.get("ms") else ""
    terminal.say(f"{mark} {line['name']:<10} {terminal.clean(line['text'])}{spent}")
    if line.get("advice"):
        terminal.say(f"             {terminal.clean(line['advice'])}")
