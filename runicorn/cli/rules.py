"""`runicorn config rule`: rules of one's own for text logs and lines of JSON that other loggers write
(docs/foreign.md)."""

import os
from pathlib import Path

from runicorn import rule_book, rules
from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import Branch
from runicorn.errors import UsageError
from runicorn.layout import default_root, home_dir

SHOWN = 10                  # lines that fit, and metrics, that a test prints


def add_rules(parser):
    """Add the subcommands to the parser of `runicorn config rule`."""
    branch = Branch(parser)
    listing = branch.add("list", "print the rules of a root, or of all", "runicorn config rule list",
                         list_rules)
    listing.add_argument("--json", action="store_true")
    add = branch.add("add", "add a rule", "runicorn config rule add --root ~/work "
                     r"--pattern 'up (?P<step>\d+).* perte (?P<loss>\S+)'", add_rule)
    remove = branch.add("remove", "take a rule back, by its number in the list",
                        "runicorn config rule remove --root ~/work 1", remove_rule)
    remove.add_argument("number", type=int)
    test = branch.add("test", "try a rule, or those that are set, on a file: the lines that fit and the "
                              "metrics that come out",
                      "runicorn config rule test ~/work/a/train.log", test_rule)
    test.add_argument("file")
    for command in (listing, add, remove):
        scope = command.add_mutually_exclusive_group()
        scope.add_argument("--root", metavar="FOLDER",
                           help="for what is below this folder of this machine (default: your experiments)")
        scope.add_argument("--connection", metavar="NAME", help="for the root of this connection")
    for command in (add, test):
        command.add_argument("--pattern", metavar="REGEX",
                             help="of a text log: named groups are metrics, or step, epoch, time; name and "
                             "value where the line names the metric")
        command.add_argument("--step", metavar="NAME",
                             help="of lines of JSON: which number is the step (without: the line's)")
        command.add_argument("--time", metavar="NAME", help="of lines of JSON: which is the time")
        command.add_argument("--metric", metavar="NAME", action="append",
                             help="of lines of JSON: which are metrics, * for anything; may be repeated "
                                  "(default: all numbers)")
        command.add_argument("--files", metavar="NAME",
                             help="only files called so (train_*.txt), or with this path below the root "
                             "(default: *.log *.out *.txt, *.jsonl)")


def _given(options):
    """Return the rule (dict) that the options say, or None."""
    fields = {"pattern": options.pattern, "step": options.step, "time": options.time,
              "metrics": options.metric, "files": options.files}
    rule = {field: value for field, value in fields.items() if value}
    return rules.checked_rule(rule) if rule else None


def _place(options):
    """Return {"folder"} or {"connection"} as rule_book has them, and what to call it."""
    if options.connection:
        return {"connection": options.connection}, f'connection "{options.connection}"'
    folder = Path(options.root).expanduser().absolute() if options.root else default_root()
    return {"folder": folder}, str(folder)


def list_rules(options):
    """Print the rules of one place, or of all."""
    from runicorn import settings
    home = home_dir()
    if options.root or options.connection:
        scope, name = _place(options)
        places = {name: rule_book.kept(home, **scope)}
    else:
        places = {folder: rule_book.kept(home, folder=folder)
                  for folder in rule_book.of_folders(settings.load(home))}
        places.update((f'connection "{saved["name"]}"', saved["rules"])
                      for saved in settings.connections(home) if saved["rules"])
    if options.json:
        return print(dialogue.json_text(places, indent=2))
    for name, listed in places.items():
        terminal.say(terminal.clean(name))
        for number, rule in enumerate(listed, 1):
            terminal.say(f"  {number}  {terminal.clean(rules.said(rule))}")
    return None if any(places.values()) else print("no rules yet; add one: runicorn config rule add --help")


def add_rule(options):
    """Add a rule. Raises UsageError for what is none."""
    scope, name = _place(options)
    rule = _given(options)
    if rule is None:
        raise UsageError("a rule needs --pattern, for text logs, or --step, --metric or --files, for lines "
                         "of JSON")
    if "folder" in scope and not os.path.isdir(scope["folder"]):
        raise UsageError(f"the root {scope['folder']} is not a folder on this machine")
    listed = rule_book.save(home_dir(), [*rule_book.kept(home_dir(), **scope), rule], **scope)
    terminal.say(terminal.clean(f"✓ rule {len(listed)} of {name}: {rules.said(rule)}"))


def remove_rule(options):
    """Take a rule back. Raises UsageError for a number that none has."""
    scope, name = _place(options)
    listed = rule_book.kept(home_dir(), **scope)
    if not 1 <= options.number <= len(listed):
        raise UsageError(f"{name} has no rule {options.number}; `runicorn config rule list` shows them")
    rule = listed.pop(options.number - 1)
    rule_book.save(home_dir(), listed, **scope)
    terminal.say(terminal.clean(f"✓ removed from {name}: {rules.said(rule)}"))


def test_rule(options):
    """Print what a rule makes of a file; returns 1 where no line fits. Raises UsageError."""
    from runicorn.metrics import rule_preview
    path = Path(options.file).expanduser().absolute()
    rule = _given(options)
    if rule is not None:
        listed, file_path = [{**rule, "files": rule["files"].rpartition("/")[2]}], path.name
    else:
        book = rule_book.RuleBook(home_dir()).of_folder(path.parent)
        listed, file_path = list(book.rules), book.prefix + path.name
    if not listed:
        raise UsageError(f"no rules are set for {path.parent}; say one: --pattern, --step, --metric")
    try:
        preview = rule_preview.preview(listed, file_path, rule_preview.read(path))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    return _print_preview(preview, path)


def _print_preview(preview, path):
    if preview["slow"]:
        raise UsageError(f"the rule {preview['slow'][:80]} takes too long on {path}: "
                         "it is tried on no log so")
    if preview["kind"] is None:
        raise UsageError(f"no rule is for a file called {path.name}: say --files {path.name}")
    for line in [line for line in preview["lines"] if line["fits"]][:SHOWN]:
        terminal.say(f"· {terminal.clean(line['text'])}")
    print(f"{preview['matched']} of {preview['tried']} lines fit")
    for curve in preview["curves"][:SHOWN]:
        steps, values = curve["steps"], curve["values"]
        first, last = (f"{terminal.number_text(steps[index])}: {terminal.number_text(values[index])}"
                       for index in (0, -1))
        terminal.say(f"  {terminal.clean(curve['metric'])}  {curve['points']} points, step {first} … {last}")
    return 0 if preview["curves"] else 1
