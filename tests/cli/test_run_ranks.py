"""Ranks that torchrun starts below `runicorn run`."""

import sys
import textwrap

import pytest
from programs import finished
from scripts import only, rows


@pytest.mark.few("every rank")
@pytest.mark.parametrize("recorded", [False, True], ids=["rank 0", "every rank"])
def test_the_runs_of_ranks_are_one(tmp_path, recorded):
    code = """
    import os, runicorn
    run = runicorn.init(project="p", name="n", all_ranks=bool(os.environ.get("ALL")))
    run.log({"loss": int(os.environ["RANK"])})
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(code))
    argv = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "train.py"]
    environ = {"OMP_NUM_THREADS": "1", "ALL": "1" if recorded else ""}
    assert finished(tmp_path, argv, env=environ, timeout=120)[0] == 0
    run = only(tmp_path)
    names = ("events.jsonl", "events.rank1.jsonl", "events.rank2.jsonl")[:3 if recorded else 1]
    assert [[row["data"] for row in rows(run, name)] for name in names] == (
        [[{"loss": rank}] for rank in range(len(names))])
    assert recorded or not (run / "events.rank1.jsonl").exists()
    assert run.parts[-4:-2] == ("p", "n")
