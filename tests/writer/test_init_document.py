"""docs/init.md and its Chinese twin say every argument of `init` and every environment variable, with the
defaults as they are."""

import inspect
import re
from pathlib import Path

import pytest

import runicorn

TREE = Path(__file__).parents[2]
DOCUMENTS = [TREE / "docs" / name for name in ("init.md", "init.zh.md")]
ARGUMENTS = {name: parameter.default
             for name, parameter in inspect.signature(runicorn.init).parameters.items()
             if parameter.kind is not parameter.VAR_KEYWORD}


def tables(path):
    """Return the tables of a document: for each the cells of its rows, without the head."""
    blocks = re.findall(r"(?:^\|.*\n)+", path.read_text(encoding="utf-8"), re.M)
    return [[[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()[2:]]
            for block in blocks]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_argument_stands_in_the_table_in_its_order_with_its_default(path):
    rows = tables(path)[0]
    assert [row[0] for row in rows] == [f"`{name}`" for name in ARGUMENTS]
    assert [row[2] for row in rows] == [f"`{default!r}`".replace("'", '"') for default in ARGUMENTS.values()]
    assert [row[0] for row in rows if len(row) != 4 or not (row[1] and row[3])] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_environment_variable_stands_in_the_other_table(path):
    read = {name for module in (TREE / "runicorn").rglob("*.py")
            for name in re.findall(r"(?<![A-Z_])RUNICORN_[A-Z_]+", module.read_text(encoding="utf-8"))}
    assert {row[0].strip("`") for row in tables(path)[1]} == read and "RUNICORN_QUIET" in read


def test_the_docstring_names_every_argument():
    text = inspect.getdoc(runicorn.init)
    assert [name for name in ARGUMENTS if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readmes_lead_there(name):
    assert "docs/init" in (TREE / name).read_text(encoding="utf-8")
