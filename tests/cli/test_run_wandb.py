"""`import wandb` in a program below `runicorn run` writes into its run."""

import os
import subprocess
import sys
import textwrap
import venv

from programs import RUN, finished
from scripts import environment, only, rows, runs, small

CODE = """
import importlib.metadata
import wandb
run = wandb.init(project="vision", name="res", config={"lr": 1})
for step in range(3):
    wandb.log({"loss": step}, step=step)
run.summary["best"] = 2
wandb.finish()
print(wandb.__file__.split("/")[-2], importlib.metadata.version("wandb") == wandb.__version__)
"""


def script(folder, code=CODE):
    (folder / "train.py").write_text(textwrap.dedent(code))
    return [sys.executable, "train.py"]


def test_a_wandb_script_is_the_run(tmp_path):
    status, out, err = finished(tmp_path, script(tmp_path))
    assert (status, out) == (0, b"wandb True\n"), err
    assert err.decode().startswith(
        "runicorn: what this program logs with wandb goes into its run, not to W&B")
    run = only(tmp_path)
    assert [row["data"] for row in rows(run)] == [{"loss": 0}, {"loss": 1}, {"loss": 2}]
    assert (small(run, "meta")["project"], small(run, "meta")["name"], small(run, "summary")["best"]) == (
        "vision", "res", 2)


def test_no_wandb_leaves_the_real_one(tmp_path):
    code = "import wandb, runicorn\nprint('runicorn' in wandb.__file__)"
    assert finished(tmp_path, script(tmp_path, code), ["--no-wandb"])[1] == b"False\n"
    assert len(runs(tmp_path)) == 1


def test_a_python_without_runicorn(tmp_path):
    venv.create(tmp_path / "bare", symlinks=True)
    env = environment(tmp_path)
    path = env.pop("PYTHONPATH")
    launcher = (f"import sys; sys.path.insert(0, {path!r}); sys.argv[0] = 'runicorn'; "
                "from runicorn.cli.main import entry; entry()")
    script(tmp_path, CODE.replace('print(wandb', 'print(wandb.init is not None) if 0 else print(wandb'))
    done = subprocess.run([sys.executable, "-c", launcher, "run", "--",
                           str(tmp_path / "bare" / "bin" / "python"), "train.py"], env=env,
                          cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows(only(tmp_path))) == 3


def test_a_package_that_can_not_be_loaded_leaves_the_real_one(tmp_path):
    (tmp_path / "site" / "wandb").mkdir(parents=True)
    (tmp_path / "site" / "wandb" / "__init__.py").write_text("real = True\n")
    (tmp_path / "site" / "runicorn").mkdir()
    (tmp_path / "site" / "runicorn" / "__init__.py").write_text("1 / 0\n")
    code = (f"import sys; sys.path[:] = [sys.path[1], {str(tmp_path / 'site')!r}, *sys.path[2:]]; "
            "import wandb; print(wandb.real)")
    env = environment(tmp_path)
    done = subprocess.run([*RUN, "--", sys.executable, "-c", code], env=env, cwd=tmp_path,
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert os.listdir(tmp_path / "root")
