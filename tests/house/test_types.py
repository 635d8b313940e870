"""The types that are given to a script's checker are of the functions it gets: the same arguments, in the same order.

`make lint` shows that a checker takes them and support/typed_script.py, which uses them.
"""

import ast
import inspect
from pathlib import Path

import pytest

import runicorn
from runicorn.reader.scripts import OpenedRun

PACKAGE = Path(runicorn.__file__).parent
TREE = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
CLASSES = {"Run": runicorn.Run, "Image": runicorn.Image, "OpenedRun": OpenedRun}


def typed():
    """Return {name: (its node, what it is)} of the functions and methods in the types."""
    found = {node.name: (node, getattr(runicorn, node.name)) for node in TREE.body if isinstance(node, ast.FunctionDef)}
    for node in TREE.body:
        for part in node.body if isinstance(node, ast.ClassDef) and node.name in CLASSES else ():
            if isinstance(part, ast.FunctionDef):
                found[f"{node.name}.{part.name}"] = part, inspect.getattr_static(CLASSES[node.name], part.name)
    return found


@pytest.mark.parametrize("name", typed())
def test_arguments_are_those_of_the_code(name):
    node, real = typed()[name]
    if isinstance(real, property):
        assert [ast.unparse(decorator) for decorator in node.decorator_list] == ["property"]
        return
    said = node.args
    words = inspect.signature(real).parameters.values()
    plain = [word for word in words if word.kind is word.POSITIONAL_OR_KEYWORD]
    assert [arg.arg for arg in said.args] == [word.name for word in plain]
    assert len(said.defaults) == sum(word.default is not word.empty for word in plain)
    for default, word in zip(said.defaults, [word for word in plain if word.default is not word.empty]):
        assert ast.unparse(default) == "..." or ast.literal_eval(default) == word.default, word
    more = {word.kind: word.name for word in words}
    assert said.vararg is None or said.vararg.arg == more[inspect.Parameter.VAR_POSITIONAL]
    assert said.kwarg is None or said.kwarg.arg == more[inspect.Parameter.VAR_KEYWORD]
    assert len(said.args) + bool(said.vararg) + bool(said.kwarg) == len(words)


def test_all_that_a_script_gets_is_typed():
    named = {node.name for node in TREE.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {"__version__"}
    assert set(runicorn.__all__) <= named
    assert (PACKAGE / "py.typed").is_file()
