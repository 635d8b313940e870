"""A notebook that papermill runs: its run says how the notebook ended."""

import os
import subprocess
import sys

import pytest
from later import Later
from scripts import environment, only, small

nbformat = Later("nbformat")

BEGIN = "import runicorn, sys\nrun = runicorn.init(project='p', name='n', system=False)\nrun.log({'a': 1})"


@pytest.mark.few(1, tier="frameworks")
@pytest.mark.parametrize("cell, expect, state, code, error", [
    ("x = 1", 0, "finished", 0, None), ("1 / 0", 1, "failed", 1, "ZeroDivisionError: division by zero"),
    ("sys.exit(3)", 1, "failed", 3, None), ("raise KeyboardInterrupt", 1, "interrupted", 130, None)])
def test_a_notebook_says_how_papermill_ended_it(tmp_path, cell, expect, state, code, error):
    v4 = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(BEGIN), v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python", "language": "python"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    env = environment(tmp_path, IPYTHONDIR=str(tmp_path / "ipython"))
    env["PATH"] = os.path.dirname(sys.executable) + os.pathsep + env["PATH"]
    done = subprocess.run([sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb"], cwd=tmp_path, env=env,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, done.stderr
    status = small(only(tmp_path), "status")
    assert (status["status"], status["exit_code"], status.get("error")) == (state, code, error)
