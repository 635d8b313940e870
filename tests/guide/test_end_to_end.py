"""The main job in one piece: the guide's training on a real sshd's side, `sync`, `viewer`, and a real browser
that watches."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright
from ports import free_port, listening
from pytorch import NO_COMPILER
from waiting import until

BLOCK = (Path(__file__).parents[1] / "guide" / "train.py.txt").read_text(encoding="utf-8")
GAP = "model = ...  # 你的 PyTorch 模型\n"
SLOW_MODEL = NO_COMPILER + """
import time
torch.manual_seed(0); torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
class Slowly(list):
    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(0.02)
            yield batch
batches = [(torch.randn(2, 3, 32, 32), torch.randint(0, 10, (2,))) for _ in range(42)]
train_loader, val_loader = Slowly(batches[:40]), batches[40:]
"""
NAME = "GPU Server 1"
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LOGGED_MORE = """seen => {
    const log = document.querySelector("[data-log]").innerText;
    return log !== seen && /Epoch \\d+ \\[/.test(log);
}"""


@pytest.fixture
def processes():
    """Start processes with `start(args, **environment)`; whatever still runs at the end is killed."""
    started = []

    def start(args, cwd=None, **environment):
        process = subprocess.Popen(args, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   encoding="utf-8")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def runicorn(*args):
    return [sys.executable, "-m", "runicorn", *args]


def test_from_a_training_on_the_server_to_a_curve_that_grows_in_the_browser(sshd, home, tmp_path, processes):
    far = tmp_path / "far"
    root = far / ".runicorn" / "experiments"
    sshd.trusted_in(home)
    (far / "train.py").write_text(BLOCK.replace(GAP, SLOW_MODEL), encoding="utf-8")
    training = processes([sys.executable, "-u", "train.py"], cwd=far, HOME=str(far), RUNICORN_HOME="",
                         PYTHONIOENCODING="utf-8")
    until(lambda: list(root.glob("*/*/runs/*/events.jsonl")), "the training to begin")

    added = processes(runicorn("config", "ssh", "add", "--name", NAME, "--host", sshd.host, "--port",
                               str(sshd.port), "--user", sshd.user, "--key", str(sshd.key), "--remote-root",
                               str(root)))
    assert added.wait(30) == 0, added.stdout.read()
    processes(runicorn("sync", "start", "--connection", NAME))
    port = free_port()
    viewer = processes(runicorn("viewer", "--port", str(port), "--no-browser"))
    until(lambda: viewer.poll() is not None or listening("127.0.0.1", port), "the viewer")
    assert viewer.poll() is None, viewer.stdout.read()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("tr[data-key] a, [data-key] a").first.click()

        chart = page.locator('[data-chart="loss"]').first
        expect(chart).to_have_attribute("data-last-step", re.compile(r"^\d+$"), timeout=20_000)
        first = int(chart.get_attribute("data-last-step"))
        page.wait_for_function(
            "([chart, first]) => +document.querySelector(chart).dataset.lastStep > first + 40",
            arg=['[data-chart="loss"]', first], timeout=30_000)
        seen = page.locator("[data-log]").first.inner_text()
        page.wait_for_function(LOGGED_MORE, arg=seen, timeout=30_000)

        training.send_signal(signal.SIGKILL)
        printed = training.stdout.read()
        mirror = home / "cache" / "gpu-server-1"
        events, = root.glob("*/*/runs/*/events.jsonl")
        arrived = mirror / events.relative_to(root)
        until(lambda: arrived.read_bytes() == events.read_bytes(), "every byte of the events in the mirror")
        logs = events.with_name("logs.txt")
        until(lambda: arrived.with_name("logs.txt").read_bytes() == logs.read_bytes(),
              "every byte of the log in the mirror")
        epoch, batch = re.findall(r"Epoch (\d+) \[(\d+)/", printed)[-1]
        last = int(epoch) * 40 + int(batch)     # printed after log() returned
        assert f'"step":{last},' in arrived.read_text(encoding="utf-8")
        browser.close()
    assert problems == []
