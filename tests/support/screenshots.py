"""Render the main screens, both themes and both languages, into docs/images/, from runs that really arrive
over SSH.

    make screenshots
        # or: .venv/bin/python tests/support/screenshots.py [--out FOLDER] [--width 1440] [--only run-light …]
"""

import argparse
import contextlib
import io
import os
import tempfile
import threading
import urllib.parse
from pathlib import Path

import showroom
from PIL import Image
from playwright.sync_api import sync_playwright
from sshd import Sshd
from waiting import until

from runicorn.cli.demo import ask
from runicorn.connections.registry import Registry
from runicorn.news import Bell
from runicorn.viewer import app

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--font-render-hinting=none"]
ROOT = ".runicorn/experiments"


@contextlib.contextmanager
def stage(folder):
    """Three servers as in the guide: one live, one that went away, one paused; yield the viewer's server."""
    home = folder / "laptop"
    home.mkdir()
    os.environ["RUNICORN_HOME"] = str(home)
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        mirrors = Registry(home, bell := Bell())
        stack.callback(mirrors.stop)
        servers = {}
        for name, runs in (("gpu-01", showroom.RUNS[:24]), ("lab-a100", showroom.RUNS[24:29]),
                           ("cluster-b", showroom.RUNS[29:])):
            start = folder / name
            alive = showroom.make(start / ROOT, runs)
            if alive:
                threading.Thread(target=showroom.go_on, args=(start / ROOT, alive, stop), daemon=True).start()
            servers[name] = stack.enter_context(Sshd(folder / f"{name}-sshd", start=start)).trusted_in(home)
        stack.callback(stop.set)
        page = app.start(home, [("local", home / "experiments")], mirrors, bell, port=0)
        stack.callback(page.stop)
        threading.Thread(target=page.serve_forever, daemon=True).start()
        for name, server in servers.items():
            mirrors.save({**server.connection(name=name, remote_root=f"~/{ROOT}")}, start=True)
        until(lambda: all(row["state"] == "live" for row in mirrors.list()))
        servers["lab-a100"].stop()
        mirrors.pause("cluster-b")
        until(lambda: mirrors.row("lab-a100")["state"] == "offline")
        yield page


def addresses(page):
    """Return {screen: address} of the main screens."""
    keys = {row["name"]: row["key"] for row in ask(page, "/api/runs", limit=100)["runs"]}
    compared = [keys[name]
                for name in ("resnet50_experiment", "resnet18_experiment", "vgg16_experiment",
                             "resnet50_lr5e-4_b64")]
    listed = urllib.parse.quote(",".join(compared), safe=":/,")
    return {"runs": f"/?ticked={listed}", "run": "/runs/" + urllib.parse.quote(compared[0], safe=":/"),
            "compare": f"/compare?runs={listed}", "settings": "/settings?tab=sync&add=1"}


def shoot(page, out, width, only):
    """Take every screen in both themes and both languages into `out`/<screen>-<theme>[-zh].png."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        for language, ending in (("en-US", ""), ("zh-CN", "-zh")):
            for theme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": 900}, locale=language,
                                              color_scheme=theme, timezone_id="UTC")
                for screen, address in addresses(page).items():
                    name = f"{screen}-{theme}{ending}"
                    if only and name not in only:
                        continue
                    tab = context.new_page()
                    tab.goto(page.url.rstrip("/") + address)
                    tab.wait_for_timeout(4000)          # curves, logs, sparklines and the first live news
                    save(tab.screenshot(), out / f"{name}.png")
                    tab.close()
                context.close()
        browser.close()


def save(png, path):
    """Write a picture of 256 colours: a third of the bytes, no colour off by more than 4 %."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(
        256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    print(f"{path} {path.stat().st_size // 1000} kB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as page:
        shoot(page, options.out, options.width, options.only)


if __name__ == "__main__":
    main()
