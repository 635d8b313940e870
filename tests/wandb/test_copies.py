"""Large files that a script saves or logs: copied beside the training, whole or not at all."""

import json
import os
import signal
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from scripts import only, small, start, train

import runicorn.wandb as wandb
from runicorn.wandb import copies


@pytest.fixture
def held(tmp_path, monkeypatch):
    """Copies of more than 1,000 bytes wait until `held` (an Event) is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "root"))
    monkeypatch.setattr(copies, "AT_ONCE", 1000)
    go, pour = threading.Event(), copies._pour

    def waiting(file, out):
        if os.fstat(file.fileno()).st_size > 1000:
            assert go.wait(30)
        pour(file, out)
    monkeypatch.setattr(copies, "_pour", waiting)
    yield go
    go.set()
    copies.copier.wait()
    wandb.finish()


def begin():
    return wandb.init(project="p", name="n", capture=False, system=False, quiet=True)


def test_a_large_artifact_is_copied_beside_the_training_as_it_was(tmp_path, held):
    run = begin()
    Path("model.pt").write_bytes(b"1" * 5000)
    Path("notes.txt").write_text("small")
    artifact = wandb.Artifact("model", "model")
    artifact.add_file("model.pt")
    artifact.add_file("notes.txt")
    assert run.log_artifact(artifact) is artifact
    above = Path(run.dir) / "artifacts" / "model"
    assert artifact.version == "v0" and [path.name for path in above.iterdir()] == ["v0"]
    assert artifact.state == "PENDING"
    Path("next.pt").write_bytes(b"2" * 5000)
    os.replace("next.pt", "model.pt")           # as a training that keeps its last checkpoint does
    second = run.log_artifact("model.pt", name="model")
    Path("model.pt").unlink()
    assert second.version == "v1"
    held.set()
    assert Path(artifact.wait().download(), "model.pt").read_bytes() == b"1" * 5000
    assert artifact.state == "COMMITTED"
    assert Path(second.wait().file()).read_bytes() == b"2" * 5000
    assert json.loads((above / "v0.json").read_text())["files"] == ["model.pt", "notes.txt"]
    assert run.use_artifact("model:v1").files()[0].size == 5000
    assert not list(Path(run.dir).rglob("*.part"))


def test_the_end_waits_for_what_is_being_copied_and_a_dying_process_does_not(tmp_path, held):
    run = begin()
    Path("model.pt").write_bytes(b"1" * 5000)
    wandb.save("model.pt", policy="now")
    threading.Timer(0.5, held.set).start()
    run.finish()
    assert (Path(run.dir) / "model.pt").read_bytes() == b"1" * 5000
    held.clear()
    run = begin()
    wandb.save("model.pt")
    run._run.conclude({"status": "interrupted", "exit_code": None, "signal": "SIGTERM"}, hurry=True)
    assert not (Path(run.dir) / "model.pt").exists() and small(Path(run.dir), "status")["signal"] == "SIGTERM"


def test_a_file_that_is_always_written_anew_is_left_out_and_named(tmp_path, held, monkeypatch, capsys):
    held.set()
    run, pour = begin(), copies._pour
    Path("last.pt").write_bytes(b"1" * 5000)

    def rewritten(file, out):
        pour(file, out)
        if out.name.endswith("last.pt.part"):
            Path("last.pt").write_bytes(os.urandom(5001 + len(os.listdir(tmp_path))))
            os.utime("last.pt", ns=(time.time_ns(), time.time_ns()))
    monkeypatch.setattr(copies, "_pour", rewritten)
    artifact = run.log_artifact("last.pt", name="last").wait()
    assert json.loads((Path(run.dir) / "artifacts" / "last" / "v0.json").read_text())["files"] == []
    assert artifact.files() == []
    assert "written anew each time" in capsys.readouterr().err and not list(Path(run.dir).rglob("*.part"))


def test_a_disk_without_room_for_the_trainings_own_keeps_it(tmp_path, held, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda path: usage(10_000, 0, 9_999))
    run = begin()
    Path("model.pt").write_bytes(b"1" * 5000)
    run.log_artifact("model.pt", name="model")
    assert "is not copied" in capsys.readouterr().err and not list(Path(run.dir).rglob("model.pt*"))


def test_saved_files_follow_to_the_end_of_a_script_that_never_calls_finish(tmp_path):
    code = ("import runicorn.wandb as wandb\nwandb.init(project='p')\nopen('a.pt', 'w').write('1')\n"
            "wandb.save('a.pt')\n"
            "import os\nopen('b.pt', 'wb').write(bytes(9 << 20))\nwandb.log_artifact('b.pt', name='b')\n"
            "open('a.pt', 'w').write('22')\n")
    train(tmp_path, code)
    run = only(tmp_path)
    assert (run / "a.pt").read_text() == "22"
    assert (run / "artifacts" / "b" / "v0" / "b.pt").stat().st_size == 9 << 20
    assert json.loads((run / "artifacts" / "b" / "v0.json").read_text())["files"] == ["b.pt"]


def test_ctrl_c_while_the_end_waits_ends_the_wait(tmp_path):
    code = ("import time\nimport runicorn.wandb as wandb\nfrom runicorn.wandb import copies\n"
            "copies._pour = lambda file, out: time.sleep(60)\n"
            "run = wandb.init(project='p')\nopen('b.pt', 'wb').write(bytes(9 << 20))\n"
            "wandb.log_artifact('b.pt', name='b')\n"
            "print('ready', flush=True)\n")
    process = start(tmp_path, code)
    assert process.stdout.readline().strip() == "ready"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert small(only(tmp_path), "status")["status"] == "finished"
