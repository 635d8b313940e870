"""The demo where paramiko is missing: the system's sshd plays the server; where that is missing too, one
sentence says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def without_paramiko(tmp_path):
    """An environment in which `import paramiko` fails, with a scratch folder of its own."""
    package = tmp_path / "shadow/paramiko"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("hidden by a test")')
    (tmp_path / "tmp").mkdir()
    ours = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{ours}",
            "TMPDIR": str(tmp_path / "tmp")}


def demo(env):
    return subprocess.run([sys.executable, "-m", "runicorn", "demo", "--check"], env=env, capture_output=True,
                          text=True, timeout=150)


def test_the_systems_sshd_plays_the_server(without_paramiko):
    done = demo(without_paramiko)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "points arrived over SSH" in done.stdout and done.stderr == ""
    assert os.listdir(without_paramiko["TMPDIR"]) == []


def test_without_either_one_sentence_says_what_to_install(without_paramiko, tmp_path):
    (tmp_path / "bin").mkdir()
    done = demo({**without_paramiko, "PATH": str(tmp_path / "bin")})
    assert done.returncode == 1 and "neither paramiko nor the system's sshd" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
    assert os.listdir(without_paramiko["TMPDIR"]) == []
