"""Who begins a thread stands in docs/contributing.md; what several threads touch says in its
docstring which may call what."""

import ast
import re
from pathlib import Path

from sources import nodes, paths

ROOT = Path(__file__).parents[2]
BEGIN = {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread"}
SHARED = {"Lock", "RLock", "Condition", "Event", "Semaphore", "SimpleQueue", "Queue"}
OF = {"threading", "queue", "_thread", "futures"}


def calls(nodes, names):
    """Return those of `names` (set) of OF that some of a syntax tree's nodes call (set)."""
    functions = [call.func for call in nodes
                 if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)]
    return {function.attr for function in functions
            if isinstance(function.value, ast.Name) and function.value.id in OF} & names


def listed():
    """Return the modules that the table of threads names (set)."""
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    table = text.partition("\n## Threads\n")[2].partition("\n## ")[0]
    named, folder = set(), ""
    for row in re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.MULTILINE)[2:]:
        for name in re.findall(r"`([\w/]+)`", row):
            folder = name.rpartition("/")[0] or folder
            named.add(name.lstrip("/") if "/" in name else f"{folder}/{name}")
    return named


def test_who_begins_a_thread_stands_in_the_table():
    begin = {name for name in paths() if calls(nodes(name), BEGIN)}
    assert begin and begin == listed()


def test_what_several_threads_touch_says_who_may_call_what():
    """Each class that makes a lock, an event or a queue."""
    shared = {f"{name}: {node.name}": node for name in paths() if calls(nodes(name), SHARED)
              for node in nodes(name)
              if isinstance(node, ast.ClassDef) and calls(ast.walk(node), SHARED)}
    assert len(shared) > 20
    assert ([name for name, node in shared.items() if "thread" not in (ast.get_docstring(node) or "").lower()]
            == [])
