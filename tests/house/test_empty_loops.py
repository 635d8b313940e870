"""No test asserts only within a loop over what may be empty: it would pass over nothing."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# calls that fail by themselves
CHECKS = ("expect", "raises", "warns", "fail", "train", "until", "only", "check", "wait_for")


def checks(node):
    """Whether a part of a test can fail by itself."""
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Assert)
    return getattr(node.func, "attr", getattr(node.func, "id", "")).startswith(CHECKS)


def surely_some(over, function):
    """Whether a loop over this runs at least once, as far as its text tells: a literal, a range,
    a constant of a module."""
    while (isinstance(over, ast.Call)
            and getattr(over.func, "id", "") in ("enumerate", "zip", "sorted", "list", "reversed", "range")):
        if over.func.id == "range":
            return True
        over = over.args[0]
    if isinstance(over, ast.Call) and getattr(over.func, "attr", "") in ("items", "values", "keys"):
        over = over.func.value
    if isinstance(over, ast.Name):
        made = [node.value for node in ast.walk(function) if isinstance(node, ast.Assign) and any(
            isinstance(to, ast.Name) and to.id == over.id for to in node.targets)]
        return (over.id.isupper() or bool(made)
                and all(isinstance(one, (ast.List, ast.Tuple, ast.Dict, ast.Set)) for one in made))
    if isinstance(over, ast.BinOp):
        return surely_some(over.left, function) or surely_some(over.right, function)
    if isinstance(over, ast.Attribute):
        return over.attr.isupper() or over.attr == "__all__"
    return isinstance(over, (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Constant))


def hollow(function):
    """Return the line (int) of the loop that holds all checks of a test, where it may run over nothing; else
    None.

    What Hypothesis makes up is a list of many lengths."""
    if any(isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "given"
           for mark in function.decorator_list):
        return None
    loops = [node for node in ast.walk(function)
             if isinstance(node, ast.For) and not surely_some(node.iter, function)]
    within = {id(part) for loop in loops for statement in loop.body for part in ast.walk(statement)}
    found = [node for node in ast.walk(function) if checks(node)]
    return loops[0].lineno if found and all(id(node) in within for node in found) else None


@pytest.mark.parametrize("body, hidden", [
    ("for row in rows(run):\n        assert row", True), ("for row in [1, 2]:\n        assert row", False),
    ("for row in rows(run):\n        assert row\n    assert run", False),
    ("made = [1]\n    for row in made:\n        assert row", False),
    ("for row in sorted(run.glob('*')):\n        with pytest.raises(OSError):\n            row.open()", True),
    ("for name, row in enumerate(ROWS):\n        assert row", False)])
def test_what_is_planted_is_seen(body, hidden):
    function = ast.parse(f"def test_it(run):\n    {body}\n").body[0]
    assert (hollow(function) is not None) is hidden


def test_no_test_may_check_nothing():
    found = [f"{path.relative_to(TESTS)}:{line} {node.name}" for path in sorted(TESTS.rglob("test_*.py"))
             for node in ast.parse(path.read_text(encoding="utf-8")).body
             if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
             and (line := hollow(node))]
    assert found == []
