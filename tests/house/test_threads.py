"""Who begins a thread stands in docs/contributing.md; what several threads touch says in its docstring which
may call what."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runicorn"
BEGIN = {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread"}
SHARED = {"Lock", "RLock", "Condition", "Event", "Semaphore", "SimpleQueue", "Queue"}
OF = {"threading", "queue", "_thread", "futures"}


def calls(node, names):
    """Return those of `names` (set) of OF that a syntax tree calls (set)."""
    functions = [call.func for call in ast.walk(node)
                 if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)]
    return {function.attr for function in functions
            if isinstance(function.value, ast.Name) and function.value.id in OF} & names


def modules():
    """Return {name: syntax tree}, `mirror/sync` for runicorn/mirror/sync.py."""
    return {path.relative_to(PACKAGE).with_suffix("").as_posix(): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(PACKAGE.rglob("*.py"))}


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
    begin = {name for name, tree in modules().items() if calls(tree, BEGIN)}
    assert begin and begin == listed()


def shared_classes():
    """Yield (module, class's node) of the classes that make a lock, an event or a queue."""
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and calls(node, SHARED):
                yield name, node


@pytest.mark.parametrize("module, node",
                         [pytest.param(*item, id=f"{item[0]}-{item[1].name}") for item in shared_classes()])
def test_what_several_threads_touch_says_who_may_call_what(module, node):
    assert "thread" in (ast.get_docstring(node) or "").lower()
