"""Trainings that know nothing of Runicorn, watched over a real sshd that grants SFTP alone: the curve on the
page moves as they write."""

import os
import re
import subprocess
import sys

import pytest
from line import Line
from playwright.sync_api import expect
from sshd import Sshd
from waiting import until

pytest_plugins = ["chromium"]

LAST = "([chart, step]) => +document.querySelector(chart).dataset.lastStep >= step"
CHART = '[data-chart="loss"]'
# Each reads a step a line, logs it, and says so.
TORCH = """
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter("exp/run1")
for line in sys.stdin:
    writer.add_scalar("loss", 1 / (int(line) + 1), int(line))
    writer.flush()
    print("written", flush=True)
"""
CSV = """
from pytorch_lightning.loggers import CSVLogger
logger = CSVLogger("lightning_logs/..", name="lightning_logs")
for line in sys.stdin:
    logger.log_metrics({"loss": 1 / (int(line) + 1), **({"acc": 0.5} if int(line) > 2 else {})},
                       step=int(line))
    logger.save()
    print("written", flush=True)
"""
WANDB = """
import os
os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_CONSOLE="off", WANDB_DISABLE_GIT="true",
                  WANDB_DISABLE_CODE="true")
import wandb
run = wandb.init(project="p", id="abc", config={"lr": 0.1}, dir=".")
for line in sys.stdin:
    run.log({"loss": 1 / (int(line) + 1)}, step=int(line))
    print("written", flush=True)
run.finish()
"""


class Training:
    """A training in a process of its own, which logs what it is told to."""

    def __init__(self, script, folder):
        self._process = subprocess.Popen([sys.executable, "-c", "import sys\n" + script], cwd=folder,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         env={**os.environ, "HOME": str(folder)})

    def log(self, *steps):
        for step in steps:
            self._process.stdin.write(f"{step}\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == "written\n"

    def finish(self):
        self._process.stdin.close()
        assert self._process.wait(60) == 0

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def training():
    """training(script, folder) -> a Training, killed in the end."""
    started = []

    def start(script, folder):
        started.append(Training(script, folder))
        return started[-1]
    yield start
    for one in started:
        one.kill()


@pytest.fixture
def watch(tmp_path, home, serve, open_page):
    """watch(path of a run) -> the page of that run of `tmp_path/far`, whose root a connection over 50 ms
    shows, and its viewer."""
    far = tmp_path / "far"
    far.mkdir()
    with Sshd(tmp_path / "sshd", start=far,
              ForceCommand=f"internal-sftp -d {far}") as sshd, Line(sshd.port, rtt=0.05) as line:
        sshd.trusted_in(home)
        with open(home / "known_hosts", "a") as known:
            known.write(f"[127.0.0.1]:{line.port} {' '.join(sshd.host_key.read_text().split()[:2])}\n")
        viewer = serve()
        viewer.connections.save({**sshd.connection(), "name": "gpu", "port": line.port,
                                 "remote_root": str(far), "mode": "auto"})

        def opened(path):
            until(lambda: [row for row in viewer.catalog.runs()["runs"] if row["key"] == f"gpu:{path}"],
                  f"{path} in the list")
            page = open_page(f"{viewer.url}/runs/gpu:{path}")
            expect(page.locator(CHART).first).to_have_attribute("data-last-step", re.compile(r"^\d+$"))
            return page
        opened.line = line
        yield opened


@pytest.mark.few("…TensorBoard")
@pytest.mark.parametrize(("script", "path", "kind"),
                         [(TORCH, "exp/run1", "TensorBoard"), (CSV, "lightning_logs/version_0", "CSV")])
def test_the_curve_moves_as_the_training_writes(tmp_path, training, watch, script, path, kind):
    far = tmp_path / "far"
    one = training(script, far)
    one.log(0, 1)
    page = watch(path)
    for step in range(2, 6):
        one.log(step)
        page.wait_for_function(LAST, arg=[CHART, step])
    assert kind in page.locator("header, main").first.inner_text() or kind in page.content()


@pytest.mark.long
def test_a_wandb_run_moves_as_its_file_does_and_says_how_it_ended(tmp_path, training, watch):
    far = tmp_path / "far"
    one = training(WANDB, far)
    one.log(0, 1, 2)
    until(lambda: [path for path in far.rglob("run-abc.wandb") if path.stat().st_size > 100],
          "W&B to write, which it does each 15 s")
    page = watch("wandb/:abc")
    expect(page.get_by_text("W&B", exact=True).first).to_be_visible()
    one.log(*range(3, 12))
    # the last row is written once it can't change any more
    page.wait_for_function(LAST, arg=[CHART, 10])
    one.finish()
    expect(page.locator("header, .head, main").get_by_text("Finished").first).to_be_visible()


@pytest.mark.long
def test_a_training_that_begins_anew_in_its_folder_goes_on_in_the_same_run_over_a_line_that_breaks(
        tmp_path, training, watch):
    far = tmp_path / "far"
    one = training(TORCH, far)
    one.log(*range(10))
    page = watch("exp/run1")
    page.wait_for_function(LAST, arg=[CHART, 9])
    one.kill()
    again = training(TORCH, far)
    again.log(10, 11)
    page.wait_for_function(LAST, arg=[CHART, 11])
    assert len(list((far / "exp/run1").iterdir())) == 2
    watch.line.cut()
    again.log(12)
    page.wait_for_function(LAST, arg=[CHART, 12])
    expect(page.get_by_text("Running").first).to_be_visible()
