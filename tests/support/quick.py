"""Which test files need no sshd, browser, shell or framework and cost little: `make quick` runs these alone.
What a file needs is read from the sources, what it costs stands in COSTLY."""

import ast
import functools
from pathlib import Path

TESTS = Path(__file__).parents[1]
PARTS = set("""sshd pam servers slurm line chromium playwright ports asyncssh pyte user_home
    torch lightning transformers keras tensorboard ray papermill jupyter_client dask joblib optuna
    pyarrow duckdb polars pyspark analysis""".split())
FOLDERS = set("cli connections format house metrics mirror reader ssh transfer viewer".split())
# Files whose tests take more than some two seconds of processor time together; so `make quick` stays below a
# minute on two cores.
COSTLY = set("""test_run_ranks test_packaging test_missing_room test_notebook test_demo_sshd test_readme_api
    test_security_machine test_verified_edits test_moves test_unreadable test_clock test_mirror_lines
    test_one_truth test_bounded test_columns_wide test_pipes test_run test_run_files test_run_joins
    test_run_terminal test_run_wandb test_cli_runs test_kind_wandb test_manifest_growth test_records
    test_links test_crowds test_last_values test_foreign_list test_log test_documents test_bounded_lists
    test_first_sync test_sync test_mirror_disk test_mirror_faults test_far_files test_inner_files
    test_series test_viewer_command test_foreign_names test_unreadable_local test_pieces test_house
    test_owners test_dead test_empty_loops test_security test_samples test_rules_everywhere test_glances
    test_first_look test_one_rule test_command_root test_pipeline test_mirror_settings test_listing
    test_growth test_completion test_columns""".split())


def is_quick(path):
    """Whether the test file at `path` (Path) is one of them."""
    return path.parent.name in FOLDERS and path.stem not in COSTLY and not needs_parts(path.stem)


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
