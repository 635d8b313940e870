"""The guide's whole workflow on one machine: a folder plays the server, an embedded read-only SFTP server
serves it over SSH, a small network is really trained into it, and a viewer mirrors it. Touches nothing
outside its scratch folder, leaves nothing behind.

    python -m runicorn demo              # opens the page, until Ctrl+C
    python -m runicorn demo --check      # headless: waits for points that came over SSH, says how long they
    took, exits 0
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import runicorn
from runicorn import manifest
from runicorn.cli.dialogue import end_as_ctrl_c_does
from runicorn.errors import RunicornError
from runicorn.news import Bell

# Below the folder that plays the server; demo_server.ROOT is its path there
ROOT = "home/alice/.runicorn/experiments"
SWEEP = (0.3, 0.03, 1.0, 0.1)                   # learning rates, one run after another
STEPS_PER_EPOCH = 40
EPOCHS = 30
BATCH = 16
HIDDEN = 12
CHECK_SECONDS = 90                              # --check gives up after this
CHECK_POINTS = 50


# -- the training: a network of two hidden layers learns to tell two spirals apart ---------------------------

def spirals(count, rng):
    """Return `count` points of two noisy spirals: [(x, y, label 0 or 1), …]."""
    points = []
    for index in range(count):
        label, turn = index % 2, rng.random() * 3.2
        angle = turn * 1.6 + label * math.pi
        points.append((turn / 3.2 * math.cos(angle) + rng.gauss(0, 0.03),
                       turn / 3.2 * math.sin(angle) + rng.gauss(0, 0.03), label))
    return points


class Network:
    """2 inputs, two tanh layers of HIDDEN units, one logit; trained by plain gradient descent."""

    def __init__(self, rng):
        sizes = [2, HIDDEN, HIDDEN, 1]
        self.layers = [[[rng.gauss(0, 1.4 / math.sqrt(n)) for _ in range(n + 1)] for _ in range(m)]
                       for n, m in zip(sizes, sizes[1:])]

    def forward(self, x, y):
        """Return the activations of every layer; the last is [logit]."""
        out = [[x, y]]
        for depth, layer in enumerate(self.layers):
            below = out[-1]
            sums = [row[-1] + sum(w * v for w, v in zip(row, below)) for row in layer]
            out.append(sums if depth == len(self.layers) - 1 else [math.tanh(s) for s in sums])
        return out

    def learn(self, batch, rate):
        """Take one gradient step on a batch; return (mean loss, accuracy in percent) before it."""
        gradients = [[[0.0] * len(row) for row in layer] for layer in self.layers]
        loss = correct = 0
        for x, y, label in batch:
            out = self.forward(x, y)
            logit = out[-1][0]
            loss += cross_entropy(logit, label)
            correct += (logit > 0) == bool(label)
            self._backward(out, sigmoid(logit) - label, gradients)
        for layer, gradient in zip(self.layers, gradients):
            for row, slopes in zip(layer, gradient):
                row[:] = [w - rate * g / len(batch) for w, g in zip(row, slopes)]
        return loss / len(batch), 100 * correct / len(batch)

    def _backward(self, out, error, gradients):
        errors = [error]
        for depth in range(len(self.layers) - 1, -1, -1):
            below = out[depth]
            for slopes, e in zip(gradients[depth], errors):
                for index, value in enumerate(below):
                    slopes[index] += e * value
                slopes[-1] += e
            if depth:
                layer = self.layers[depth]
                errors = [(1 - value * value) * sum(e * row[index] for row, e in zip(layer, errors))
                          for index, value in enumerate(below)]

    def judge(self, points):
        """Return (mean loss, accuracy in percent) on `points`."""
        logits = [(self.forward(x, y)[-1][0], label) for x, y, label in points]
        return (sum(cross_entropy(logit, label) for logit, label in logits) / len(logits),
                100 * sum((logit > 0) == bool(label) for logit, label in logits) / len(logits))


def sigmoid(logit):
    """Return 1 / (1 + exp(-logit)) without overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))


def cross_entropy(logit, label):
    """Return the binary cross-entropy of a logit, without overflow."""
    return max(logit, 0) - logit * label + math.log1p(math.exp(-abs(logit)))


def train(root, pause=0.1):
    """Train one network per learning rate into `root`, a step every `pause` seconds; the training script of
    the demo."""
    for seed, rate in enumerate(SWEEP):
        rng = random.Random(seed)
        data, held_out, network = spirals(400, rng), spirals(100, rng), Network(rng)
        run = runicorn.init(project="spirals", name=f"mlp_lr{rate}", storage=root, tags=["demo", "sweep"],
                            capture=True, config={"model": "mlp", "hidden": HIDDEN, "batch_size": BATCH,
                                                  "learning_rate": rate, "epochs": EPOCHS,
                                                  "max_steps": EPOCHS * STEPS_PER_EPOCH, "seed": seed})
        best = 0.0
        for epoch in range(EPOCHS):
            for index in range(STEPS_PER_EPOCH):
                step = epoch * STEPS_PER_EPOCH + index
                slowed = rate * 0.5 * (1 + math.cos(math.pi * step / (EPOCHS * STEPS_PER_EPOCH)))
                loss, accuracy = network.learn(rng.sample(data, BATCH), slowed)
                run.log({"train/loss": loss, "train/accuracy": accuracy, "train/learning_rate": slowed,
                         "epoch": epoch}, step=step)
                if index % 10 == 0:
                    print(f"Epoch {epoch} [{index}/{STEPS_PER_EPOCH}] Loss: {loss:.4f} Acc: {accuracy:.2f}%")
                time.sleep(pause)
            loss, accuracy = network.judge(held_out)
            run.log({"val/loss": loss, "val/accuracy": accuracy}, step=(epoch + 1) * STEPS_PER_EPOCH)
            best = max(best, accuracy)
            run.summary({"best_val_accuracy": best, "total_epochs": epoch + 1})
            print(f"✓ Epoch {epoch} done: val/loss {loss:.4f}, val/accuracy {accuracy:.2f}%")
        run.finish()


@contextlib.contextmanager
def training(root):
    """Run `train` as its own process, as on a real server; kill it at the end."""
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from runicorn.cli.demo import train; "
            "train(sys.argv[2])")
    home = Path(runicorn.__file__).parent.parent            # a folder, or the archive we run from
    process = subprocess.Popen([sys.executable, "-c", code, str(home), str(root)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONIOENCODING": "utf-8"}, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# -- the server ----------------------------------------------------------------------------------------------

@contextlib.contextmanager
def ssh_server(server, root, home):
    """Serve the folder `server`, in which runs lie in `root`, over SSH; yield the connection (dict) that
    reaches them.

    By paramiko; where it is missing by the system's sshd, which serves `root` at its own path. Raises
    MissingPackageError.
    """
    try:
        from runicorn.cli import demo_server
        serving = demo_server.serving(server, home)
    except ImportError:
        from runicorn.cli import demo_sshd
        serving = demo_sshd.serving(root, home)
    with serving as connection:
        yield connection


# -- the whole -----------------------------------------------------------------------------------------------

@contextlib.contextmanager
def workflow(port=0):
    """Run the whole workflow in a scratch folder; yield the viewer's server (`.url`, `.token`,
    `.serve_forever()`)."""
    from runicorn.connections.registry import Registry
    from runicorn.viewer import app
    scratch = Path(tempfile.mkdtemp(prefix="runicorn-demo-")).resolve()
    server, home = scratch / "server", scratch / "laptop"
    root = server / ROOT
    root.mkdir(parents=True)
    home.mkdir(mode=0o700)
    try:
        with ssh_server(server, root, home) as connection, training(root):
            manifest.generate(str(root))
            bell = Bell()
            mirrors = Registry(home, bell)
            page = app.start(home, [("local", home / "experiments")], mirrors, bell, port=port)
            try:
                mirrors.save({"name": "Demo server", **connection}, start=True)
                yield page
            finally:
                mirrors.stop()
                page.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main(argv):
    """`runicorn demo [--check] [--port N] [--no-browser]`; return the exit code."""
    parser = argparse.ArgumentParser(prog="runicorn demo",
                                     description="The whole workflow on this machine: a real training, SSH, "
                                     "a mirror, pages.", epilog="example:\n  runicorn demo --check",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true",
                        help="headless: wait until points arrived over SSH, say how long they took, exit")
    parser.add_argument("--port", type=int, default=23300,
                        help="port of the pages (default 23300; 0 takes a free one)")
    parser.add_argument("--no-browser", action="store_true", help="don't open a browser")
    options = parser.parse_args(argv)
    end_as_ctrl_c_does()                # leaves nothing behind
    try:
        return demo(options.port, options.check, not options.no_browser)
    except KeyboardInterrupt:
        print()
        return 130 if options.check else 0


def demo(port=23300, check=False, browser=True, out=sys.stdout):
    """Run the demo until KeyboardInterrupt, or with `check` until points arrived over SSH; return the exit
    code."""
    with workflow(0 if check else port) as page:
        print("A folder plays the GPU server; an SSH server on loopback serves it, read-only and SFTP only.",
              file=out)
        print("A real training process logs into it: a small network learns to tell two spirals apart.",
              file=out)
        print(f"A viewer mirrors it over SSH. Open {page.url} and watch the curves move.", file=out)
        print("Ctrl+C stops everything and leaves nothing behind.", file=out, flush=True)
        if check:
            return _check(page, out)
        if browser and sys.stdout.isatty():
            import webbrowser
            threading.Thread(target=webbrowser.open, args=(page.url,), daemon=True).start()
        page.serve_forever()
        return 0


def _check(page, out):
    threading.Thread(target=page.serve_forever, name="demo-viewer", daemon=True).start()
    deadline, delays, newest = time.monotonic() + CHECK_SECONDS, [], None
    while len(delays) < CHECK_POINTS:
        if time.monotonic() > deadline:
            connections = ask(page, "/api/connections")["connections"]
            raise RunicornError(f"no points arrived over SSH within {CHECK_SECONDS} s; the connection says: "
                                + "; ".join(f"{row['state']}, {row['reason']['text']}"
                                            for row in connections))
        runs = ask(page, "/api/runs", connection="demo-server", sort="-started", limit=1)
        for row in runs["runs"]:
            logged = _logged(page, row["key"])
            # What the first sight shows came with the first sync; only later points are news
            if newest is not None:
                delays += [time.time() - moment for moment in logged if moment > newest]
            newest = max(logged, default=newest)
        ask(page, "/api/news", since=runs["news"],
            topics=",".join(["runs", *(f"run:{row['key']}" for row in runs["runs"])]), timeout=5)
    print(f"{len(delays)} points arrived over SSH while we watched; from log() to the API they took "
          f"{statistics.median(delays):.2f} s "
          f"(median; worst {max(delays):.2f} s).", file=out)
    return 0


def _logged(page, key):
    """Return when each point of the training loss was logged, in Unix seconds."""
    series = ask(page, "/api/series", run=key, metric="train/loss", x="wall", buckets=5000)["series"]
    return series[0]["x"] if series else []


def ask(page, path, **query):
    """Return the JSON that the viewer `page` answers at `path`."""
    address = page.url.rstrip("/") + path + ("?" + urllib.parse.urlencode(query) if query else "")
    request = urllib.request.Request(address, headers={"X-Runicorn-Token": page.token})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
