"""The types that are given to a script's checker are of the functions it gets: the same arguments, in the
same order.

`make lint` shows that a checker takes them and support/typed_script.py, which uses them.
"""

import ast
import inspect

import pytest
from sources import PACKAGE, trees

import runicorn
from runicorn.reader.scripts import OpenedRun

TREE = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
CLASSES = {"Run": runicorn.Run, "Image": runicorn.Image, "OpenedRun": OpenedRun}


def typed():
    """Return {name: (its node, what it is)} of the functions and methods in the types."""
    found = {node.name: (node, getattr(runicorn, node.name))
             for node in TREE.body if isinstance(node, ast.FunctionDef)}
    for node in TREE.body:
        for part in node.body if isinstance(node, ast.ClassDef) and node.name in CLASSES else ():
            if isinstance(part, ast.FunctionDef):
                found[f"{node.name}.{part.name}"] = part, inspect.getattr_static(
                    CLASSES[node.name], part.name)
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
    named = {node.name for node in TREE.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {
        "__version__"}
    assert set(runicorn.__all__) <= named
    assert (PACKAGE / "py.typed").is_file()


# How many public functions say what they take and give, at least.
TYPED = {"mirror": 180, "metrics": 60, "reader": 150, "connections": 50, "viewer": 60, "transfer": 35,
         "cli": 60}


def functions_of(package):
    """Return the public functions and methods (list of ast.FunctionDef) of a package's modules,
    constructors among them."""
    bodies = [tree.body for name, tree in trees().items() if name.rpartition("/")[0] == package]
    bodies += [node.body for body in bodies
               for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    return [node for body in bodies for node in body
            if isinstance(node, ast.FunctionDef)
            and (node.name == "__init__" or not node.name.startswith("_"))]


@pytest.mark.parametrize("package", TYPED)
def test_what_is_annotated_does_not_become_less(package):
    assert sum(node.returns is not None for node in functions_of(package)) >= TYPED[package]


def test_no_function_is_annotated_in_part():
    nodes = [node for package in TYPED for node in functions_of(package) if node.returns is not None]
    assert nodes
    assert [node.name for node in nodes
            if any(arg.annotation is None for arg in node.args.args if arg.arg != "self")] == []
