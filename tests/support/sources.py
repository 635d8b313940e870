"""The syntax trees of the package: read once a process, by the first test that asks, as
reading them takes seconds."""

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "runicorn"


@functools.lru_cache(None)
def paths():
    """Return the package's modules, {"writer/run": Path of runicorn/writer/run.py}, sorted by their paths."""
    return {path.relative_to(PACKAGE).with_suffix("").as_posix(): path
            for path in sorted(PACKAGE.rglob("*.py"))}


@functools.lru_cache(None)
def trees():
    """Return {"writer/run": its syntax tree (ast.Module)}."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths().items()}


@functools.lru_cache(None)
def nodes(name):
    """Return all nodes (list of ast.AST) of a module, named as in `paths`."""
    return list(ast.walk(trees()[name]))
