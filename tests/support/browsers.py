"""The pages' main walk in Firefox, in WebKit, Safari's engine, and in Chromium 115, the oldest that is
supported.

    python tests/support/browsers.py [firefox] [webkit] [chromium]     # `make browsers` does all three

Firefox is spoken to by Marionette, WebKitGTK by WebDriver under Xvfb; both take the commands of W3C
WebDriver. Chromium 115 is unpacked from the npm package @sparticuz/chromium@115 into build/browsers. Prints a
line for each step; the exit code is the number of steps that failed, 0 when all hold. Pictures go to
build/browsers.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE.parent), str(HERE / "support")]

from ports import free_port, listening  # noqa: E402
from small_runs import beat, event, write_run  # noqa: E402
from waiting import until  # noqa: E402

from runicorn import layout  # noqa: E402
from runicorn.connections.registry import Registry  # noqa: E402
from runicorn.news import Bell  # noqa: E402
from runicorn.viewer import app  # noqa: E402

PATIENCE = 60.0                 # s; on a busy machine
PICTURES = HERE.parent / "build" / "browsers"
PREFERENCES = {"browser.shell.checkDefaultBrowser": False,
               "datareporting.policy.dataSubmissionEnabled": False,
               "toolkit.telemetry.enabled": False, "app.update.enabled": False, "browser.startup.page": 0,
               "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
               "intl.accept_languages": "en-US"}
UNPACK = """const zlib = require('zlib'), fs = require('fs');
    const packed = fs.readFileSync('package/bin/chromium.br');
    fs.writeFileSync('chromium115', zlib.brotliDecompressSync(packed), {mode: 0o755});"""


class Browser:
    """What both have: commands of WebDriver by name, through `ask(name, parameters)` of the one or the
    other."""

    tells_copy = True

    def go(self, url):
        self.ask("navigate", {"url": url})

    def run(self, script, *args):
        """Return what a script's function body returns."""
        return self.ask("execute", {"script": script, "args": list(args)})

    def wait(self, what, script, *args):
        """Wait until the script returns something true, and return that. Raises AssertionError that says what
        was waited for."""
        return until(lambda: self.run(f"return {script}", *args), what, PATIENCE, pause=0.1)

    def box(self, selector):
        """Return [x, y, width, height] of the first element."""
        found = self.wait(selector, "document.querySelector(arguments[0])?.getBoundingClientRect().toJSON()",
                          selector)
        return [round(found[name]) for name in ("x", "y", "width", "height")]

    def point(self, *steps):
        """Do with the mouse: ("move", x, y), ("down",), ("up",)."""
        kinds = {"move": lambda x, y: {"type": "pointerMove", "x": x, "y": y, "duration": 60,
                                       "origin": "viewport"},
                 "down": lambda: {"type": "pointerDown", "button": 0},
                 "up": lambda: {"type": "pointerUp", "button": 0}}
        actions = [kinds[name](*rest) for name, *rest in steps]
        self.ask("actions",
                 {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
                               "actions": actions}]})

    def click(self, selector):
        x, y, width, height = self.box(selector)
        self.point(("move", x + width // 2, y + height // 2), ("down",), ("up",))

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{self.name}-{name}.png").write_bytes(base64.b64decode(self.ask("screenshot", {})))


class Firefox(Browser):
    """Debian's firefox-esr, headless."""

    name = "firefox"
    COMMANDS = {"navigate": "WebDriver:Navigate", "execute": "WebDriver:ExecuteScript",
                "actions": "WebDriver:PerformActions", "screenshot": "WebDriver:TakeScreenshot",
                "size": "WebDriver:SetWindowRect"}

    def __init__(self):
        self._profile, port = tempfile.TemporaryDirectory(ignore_cleanup_errors=True), free_port()
        chosen = {**PREFERENCES, "marionette.port": port}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in chosen.items()]
        Path(self._profile.name, "user.js").write_text("".join(lines))
        words = ["firefox-esr", "--headless", "--marionette", "--profile", self._profile.name, "--width",
                 "1440", "--height", "900"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         env={**os.environ, "HOME": self._profile.name})
        self._socket, self._number, self._rest = _connected(port), 0, b""
        self._message()
        told = self._send("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})
        self.version = told["capabilities"]["browserVersion"]
        inner = self.run("return [outerWidth - innerWidth, outerHeight - innerHeight]")
        self.ask("size", {"width": 1440 + inner[0], "height": 900 + inner[1]})

    def ask(self, name, parameters):
        found = self._send(self.COMMANDS[name], parameters)
        return found.get("value") if isinstance(found, dict) else found

    def _send(self, command, parameters):
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._message()
        assert error is None, f"{command}: {error}"
        return result

    def _message(self):
        while (b":" not in self._rest or len(self._rest.partition(b":")[2])
               < int(self._rest.partition(b":")[0])):
            more = self._socket.recv(1 << 20)
            assert more, "Firefox has ended"
            self._rest += more
        length, _, rest = self._rest.partition(b":")
        self._rest = rest[int(length):]
        return json.loads(rest[:int(length)])

    def close(self):
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)
        self._profile.cleanup()


class WebKit(Browser):
    """WebKitGTK's MiniBrowser by webkit2gtk-driver, on an Xvfb of its own."""

    name = "webkit"
    COMMANDS = {"navigate": "url", "execute": "execute/sync", "actions": "actions",
                "screenshot": "screenshot", "size": "window/rect"}

    def __init__(self):
        read, write = os.pipe()
        self._screen = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1100x24", "-nolisten", "tcp"],
            pass_fds=(write,), stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as told:
            display = f":{told.readline().strip()}"
        port, self._home = free_port(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        around = {**os.environ, "DISPLAY": display, "HOME": self._home.name,
                  "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
        self._process = subprocess.Popen(["WebKitWebDriver", f"--port={port}"], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL, env=around)
        _connected(port).close()
        self._base = f"http://127.0.0.1:{port}/session"
        told = self._send("POST", "", {"capabilities": {"alwaysMatch": {}}})
        self._base += f"/{told['sessionId']}"
        self.version = told["capabilities"]["browserVersion"]
        self.ask("size", {"x": 0, "y": 0, "width": 1440, "height": 900})
        inner = self.run("return [1440 - innerWidth, 900 - innerHeight]")
        self.ask("size", {"x": 0, "y": 0, "width": 1440 + inner[0], "height": 900 + inner[1]})

    def ask(self, name, parameters):
        return self._send("GET" if name == "screenshot" else "POST", f"/{self.COMMANDS[name]}", parameters)

    def _send(self, method, path, parameters):
        body = None if method == "GET" else json.dumps(parameters).encode()
        asked = urllib.request.Request(self._base + path, body, {"Content-Type": "application/json"},
                                       method=method)
        try:
            with urllib.request.urlopen(asked, timeout=2 * PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read()[:500].decode()}") from error

    def close(self):
        try:
            self._send("DELETE", "", {})
        finally:
            for process in (self._process, self._screen):
                process.terminate()
                process.wait(20)
            self._home.cleanup()


class Chromium115(Browser):
    """The oldest Chromium that is supported, by Playwright."""

    name = "chromium"
    tells_copy = False              # its selection's text holds what is not copied

    def __init__(self):
        from playwright.sync_api import sync_playwright
        PICTURES.mkdir(parents=True, exist_ok=True)
        if not (PICTURES / "chromium115").exists():
            for words in (["npm", "pack", "--silent", "@sparticuz/chromium@115"],
                          ["tar", "xzf", "sparticuz-chromium-115.0.0.tgz"], ["node", "-e", UNPACK]):
                subprocess.run(words, cwd=PICTURES, check=True, stdout=subprocess.DEVNULL)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=PICTURES / "chromium115", args=[
            "--no-sandbox", "--disable-gpu", "--single-process", "--no-zygote"])
        self.version = self._browser.version
        self._page = self._browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-US")

    def ask(self, name, parameters):
        if name == "navigate":
            self._page.goto(parameters["url"])
            return None
        if name == "execute":
            script = f"values => (function () {{ {parameters['script']} }}).apply(null, values)"
            return self._page.evaluate(script, parameters["args"])
        if name == "screenshot":
            return base64.b64encode(self._page.screenshot())
        clicks = 0                      # downs at one place: two are a double click
        for action in parameters["actions"][0]["actions"]:
            if action["type"] == "pointerMove":
                clicks = 0
                self._page.mouse.move(action["x"], action["y"], steps=3)
            elif action["type"] == "pointerDown":
                clicks += 1
                self._page.mouse.down(click_count=clicks)
            else:
                self._page.mouse.up(click_count=clicks)
        return None

    def close(self):
        self._browser.close()
        self._playwright.stop()


def _connected(port):
    until(lambda: listening("127.0.0.1", port), f"that something listens on port {port}", PATIENCE, pause=0.2)
    return socket.create_connection(("127.0.0.1", port), timeout=2 * PATIENCE)


class Site:
    """A viewer on three runs, one of them live."""

    def __init__(self, home):
        root = Path(home) / "experiments"
        for number in range(2):
            write_run(root, "vision", f"resnet{number}", f"20250122_18000{number}_abc123", rows=200,
                      config={"lr": number})
        self.id = "20250123_180000_abc123"
        self.folder, self.started = write_run(root, "vision", "live", self.id, "running", rows=0), time.time()
        self.root, self.steps = root, 0
        self.log(200)
        mirrors = Registry(home, bell := Bell(), offline=False)
        self.server = app.start(home, [("local", root)], mirrors, bell, port=0)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = self.server.url

    def log(self, count):
        """Let the live run log so many steps and lines."""
        with open(self.folder / "events.jsonl", "a") as events, open(self.folder / "logs.txt", "a") as logs:
            for step in range(self.steps, self.steps + count):
                events.write(event(self.started + step / 10, step,
                                   {"train/loss": 2 / (step + 1), "val/loss": 3 / (step + 1)}))
                logs.write(f"{layout.stamp(self.started + step / 10)}step {step} of the walk\n")
        self.steps += count
        beat(self.root, self.folder, self.id)


# -- the walk: each step is a function of (browser, site) that asserts ---------------------------------------

def list_of_runs(browser, site):
    browser.go(site.url)
    browser.wait("three runs", "document.querySelectorAll('tr[data-key]').length === 3")
    assert browser.run("return document.getElementById('floor')") is None
    ground, ink = browser.run(
        "const look = getComputedStyle(document.body); return [look.backgroundColor, look.color]")
    assert ground != ink and ground != "rgba(0, 0, 0, 0)", (ground, ink)


def run_page(browser, site):
    browser.run("document.querySelector(`tr[data-key$='${arguments[0]}'] a`).click()", site.id)
    browser.wait("the chart of the run", "document.querySelector('figure.chart canvas')")
    browser.wait("its log", "document.querySelectorAll('li.logline').length > 100")


def crosshair(browser, site):
    x, y, width, height = browser.box("figure.chart .u-over")
    browser.point(("move", x + width // 3, y + height // 2), ("move", x + width // 2, y + height // 2))
    browser.wait("the values at the crosshair",
                 "document.querySelector('.chart-tip')?.innerText.includes('loss') || "
                 "document.querySelector('.chart-tip tr')")


def zoom(browser, site):
    x, y, width, height = browser.box("figure.chart .u-over")
    middle = y + height // 2
    browser.point(("move", x + width // 4, middle), ("down",), ("move", x + width // 2, middle),
                  ("move", x + width * 3 // 4, middle), ("up",))
    browser.wait("the zoom's chip", "document.querySelector('.zoomed')")
    for _ in range(2):
        browser.point(("move", x + width // 2, y + height // 2), ("down",), ("up",), ("down",), ("up",))
        time.sleep(1)
        if not browser.run("return document.querySelector('.zoomed')"):
            return
    raise AssertionError("a double click does not reset the zoom")


def full_screen(browser, site):
    browser.run("document.querySelector('figure.chart .enter').click()")
    size = browser.run("return [innerWidth, innerHeight]")
    assert browser.box(".chart.full") == [0, 40, size[0], size[1] - 40], (browser.box(".chart.full"), size)
    browser.picture("full")
    browser.run("document.querySelector('.chart.full .leave').click()")
    browser.wait("the page again", "!document.querySelector('.chart.full')")


def log_copy(browser, site):
    browser.go(f"{site.url}/runs/{site.id}?tab=logs")
    browser.wait("the log", "document.querySelectorAll('li.logline').length > 100")
    looks = browser.run("""return ['.step', 'time'].map(part => {
        const look = getComputedStyle(document.querySelector('.logline ' + part));
        return look.userSelect || look.webkitUserSelect;
    })""")
    assert looks == ["none", "none"], looks
    copied = browser.run("""const rows = [...document.querySelectorAll('li.logline')].slice(-3);
        getSelection().setBaseAndExtent(rows[0].querySelector('.text'), 0, rows[2].querySelector('.text'), 1);
        let text = null;
        document.addEventListener('copy', event => { text = String(getSelection()); }, {once: true});
        document.execCommand('copy');
        const found = text ?? String(getSelection());
        getSelection().removeAllRanges();
        return found;""")
    expected = [f"step {site.steps - 3 + place} of the walk" for place in range(3)]
    assert not browser.tells_copy or [line for line in copied.split("\n") if line.strip()] == expected, copied


def live(browser, site):
    site.log(1)
    browser.wait("the new line",
                 "[...document.querySelectorAll('li.logline .text')].at(-1)?.innerText === arguments[0]",
                 f"step {site.steps - 1} of the walk")
    site.log(5000)                      # more than a page of the log
    browser.wait("the end after a burst",
                 "[...document.querySelectorAll('li.logline .text')].at(-1)?.innerText === arguments[0]",
                 f"step {site.steps - 1} of the walk")
    browser.wait("the new step",
                 "document.querySelector('[data-fact=step]').innerText.replaceAll(',', "
                 "'').includes(arguments[0])",
                 str(site.steps - 1))


def compare(browser, site):
    browser.go(f"{site.url}/compare?runs=20250122_180000_abc123,20250122_180001_abc123")
    browser.wait("the charts of both", "document.querySelectorAll('figure.chart canvas').length > 0")
    browser.wait("the difference", "document.querySelector('.ct')?.innerText.includes('lr')")
    browser.picture("compare")


def settings(browser, site):
    browser.go(f"{site.url}/settings")
    browser.wait("the form", "document.getElementById('f-host')")
    browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '?', bubbles: true}))")
    tops = browser.wait("the keys in two columns", """(() => {
        const parts = [...document.querySelectorAll('dialog .keys section')]
            .map(part => Math.round(part.getBoundingClientRect().top));
        return parts.length && parts;
    })()""")
    assert tops[0] == tops[1], f"the columns begin at {tops}"
    browser.picture("keys")


WALK = [list_of_runs, run_page, crosshair, zoom, full_screen, log_copy, live, compare, settings]


def walk(kind, site):
    """Do the walk in one browser; returns how many steps failed."""
    browser, failed = kind(), 0
    print(f"{browser.name} {browser.version}", flush=True)
    try:
        for step in WALK:
            try:
                step(browser, site)
                print(f"  holds   {step.__name__}", flush=True)
            except AssertionError as error:
                failed += 1
                browser.picture(f"failed-{step.__name__}")
                print(f"  FAILS   {step.__name__}: {error}", flush=True)
    finally:
        browser.close()
    return failed


def main():
    chosen = [kind for kind in (Firefox, WebKit, Chromium115)
              if kind.name in sys.argv[1:] or len(sys.argv) == 1]
    failed = 0
    for kind in chosen:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            site = Site(Path(home))
            failed += walk(kind, site)
            site.server.stop()
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
