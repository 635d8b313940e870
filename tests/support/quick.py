"""Which test files need no sshd, browser, shell or framework and are soon done: `make quick` runs these
alone. Read from the sources."""

import ast
import functools
from pathlib import Path

TESTS = Path(__file__).parents[1]
PARTS = set("""sshd pam servers slurm line chromium playwright ports asyncssh pyte user_home
    torch lightning transformers keras tensorboard ray papermill jupyter_client dask joblib optuna
    pyarrow duckdb polars pyspark analysis""".split())
FOLDERS = set("cli connections format house metrics mirror reader ssh transfer viewer".split())
LONG = set("""test_run_ranks test_packaging test_missing_room test_notebook test_demo_sshd test_readme_api
    test_security_machine test_verified_edits test_moves test_unreadable test_clock test_mirror_lines
    test_one_truth test_bounded test_columns_wide test_pipes""".split())


def is_quick(path):
    """Whether the test file at `path` (Path) is one of them."""
    return path.parent.name in FOLDERS and path.stem not in LONG and not needs_parts(path.stem)


@functools.lru_cache(None)
def needs_parts(module):
    """Whether a module below tests/ imports one of PARTS, over helpers too, or has a test that takes the
    fixture `sshd`."""
    names, words = set(), set()
    for node in ast.walk(ast.parse(_places()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Later":      # support/later.py
            names.add(node.args[0].value.partition(".")[0])
        elif isinstance(node, ast.arg):
            words.add(node.arg)
    return (bool(names & PARTS or "sshd" in words)
            or any(needs_parts(name) for name in names & set(_places()) - {module}))


@functools.lru_cache(None)
def _places():
    return {path.stem: path for path in TESTS.rglob("*.py")}
