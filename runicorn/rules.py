"""What a rule of one's own for other loggers' text files may be: checked when it is set, said in one line.
Keeps none."""

from __future__ import annotations

import re

from runicorn.errors import UsageError
from runicorn.foreign_rules import EPOCHS, STEPS, TIMES, Rules
from runicorn.rule_process import SHARED

MOST = 16                   # rules of one root or connection
# Characters of a pattern and of a name; names of metrics in a rule
PATTERN, NAME, NAMES = 1000, 200, 100
FIELDS = {"pattern", "files", "step", "time", "metrics"}


def made(rules, prefix=""):
    """Return the foreign_rules.Rules of checked rules (list of dicts). prefix: as that has it."""
    return Rules(rules, prefix, SHARED.search)


def checked(rules):
    """Return `rules` (list of dicts, from anywhere) as Rules takes them. Raises UsageError that names the one
    that can't be."""
    if not isinstance(rules, list) or len(rules) > MOST:
        raise UsageError(f"rules are a list of at most {MOST}; join some with |", code="usage",
                         said="rules_many", most=MOST)
    return [checked_rule(rule) for rule in rules]


def checked_rule(rule):
    """Return one rule (dict) with all its fields, and no others. Raises UsageError that names it."""
    if not isinstance(rule, dict) or not rule.keys() <= FIELDS:
        raise UsageError(f"the rule {str(rule)[:80]} is none: it may have {', '.join(sorted(FIELDS))}",
                         code="usage", said="rule_fields", rule=str(rule)[:80],
                         fields=", ".join(sorted(FIELDS)))
    files = _name(rule, "files")
    if files.startswith("/") or ".." in files.split("/"):
        raise UsageError(f"the rule's files {files!r} begin below its root: write a name such as *.log, or "
                         f"a path such as exp/*.log",
                         code="usage", said="rule_files", files=files)
    if rule.get("pattern"):
        if any(rule.get(field) for field in ("step", "time", "metrics")):
            raise UsageError("a rule has a pattern, for text logs, or names, for lines of JSON: not both",
                             code="usage", said="rule_both")
        return {"pattern": checked_pattern(rule["pattern"]), "files": files}
    metrics = rule.get("metrics") or []
    if not (isinstance(metrics, list) and len(metrics) <= NAMES
            and all(isinstance(name, str) and 0 < len(name) <= NAME for name in metrics)):
        raise UsageError(f"the rule's metrics are a list of at most {NAMES} names", code="usage",
                         said="rule_metrics", most=NAMES)
    step = _name(rule, "step")
    if not (step or metrics or files):
        raise UsageError("a rule for lines of JSON names their step, their metrics or the files",
                         code="usage", said="rule_empty")
    return {"step": step, "time": _name(rule, "time"), "metrics": list(metrics), "files": files}


def _name(rule, field):
    value = rule.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > NAME or not value.isprintable():
        raise UsageError(f"the rule's {field} is {str(value)[:80]!r}; it must be a short line of text",
                         code="usage", said="rule_text", field=field, value=str(value)[:80])
    return value.strip()


def checked_pattern(pattern):
    """Return a pattern that may be a rule (str). Raises UsageError that names it where it can't, or would
    take for ever on some line."""
    if not isinstance(pattern, str) or len(pattern) > PATTERN:
        raise UsageError(f"a rule of more than {PATTERN} characters is too long: {str(pattern)[:80]}…",
                         code="usage", said="rule_long", rule=str(pattern)[:80], most=PATTERN)
    try:
        rule = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"the rule {pattern[:80]} is no regular expression: {error}", code="usage",
                         said="rule_broken", rule=pattern[:80], detail=str(error)) from error
    names = rule.groupindex.keys()
    if not names - {*STEPS, *EPOCHS, *TIMES, "name", "value"} and not {"name", "value"} <= names:
        raise UsageError(f"the rule {pattern[:80]} names no metric: write (?P<loss>[0-9.]+) for what is to "
                         f"be one", code="usage",
                         said="rule_no_metric", rule=pattern[:80])
    if _runs_away(pattern):
        raise UsageError(f"the rule {pattern[:80]} might take for ever: put no * or + around or right "
                         f"beside another", code="usage",
                         said="rule_runs_away", rule=pattern[:80])
    return pattern


def _runs_away(pattern):
    """Whether an unbounded repeat stands within another, or right beside one: what runs away most often. What
    does in other ways is ended when it does."""
    parser = re.sre_parse if hasattr(re, "sre_parse") else re._parser

    def walk(nodes, is_within):
        is_behind = False
        for operator, argument in nodes:
            if str(operator) in ("MAX_REPEAT", "MIN_REPEAT"):
                is_long = argument[1] > 256
                if is_long and (is_within or is_behind) or walk(argument[2], is_within or is_long):
                    return True
                is_behind = is_long
                continue
            is_behind = False
            for item in argument if isinstance(argument, (tuple, list)) else (argument,):
                for inner in item if isinstance(item, list) else (item,):
                    if isinstance(inner, parser.SubPattern) and walk(inner, is_within):
                        return True
        return False
    return walk(parser.parse(pattern), False)


def said(rule):
    """Return a rule (dict) in one line (str)."""
    named = f" in {rule['files']}" if rule["files"] else ""
    if "pattern" in rule:
        return f"{rule['pattern']}{named}"
    names = ", ".join(rule["metrics"]) or "all numbers"
    return f"JSON: {names} by {rule['step'] or 'line'}{named}" + (f", time {rule['time']}" if rule["time"]
                                                                  else "")
