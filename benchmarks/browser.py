"""A Chromium driven over its own pipe, with nothing switched on but what is asked for: whatever watches a
page also slows it.

    with Chromium(flags) as browser:
        page = browser.tab(browser.context(), before="window.seen = 1")
        page.go("http://127.0.0.1:23300/")
        print(page.value("document.title"))
"""

import contextlib
import itertools
import json
import os
import subprocess
import tempfile
import time

PROGRAM = "/usr/bin/chromium"
# s; a new window loads the browser's own pages (its address box is one), which a user's has long done
SETTLED = 2.0
# the file descriptors that --remote-debugging-pipe reads from and writes to
COMMANDS, ANSWERS = 3, 4


class Chromium:
    """One headless browser. `flags`: further switches of its command line."""

    def __init__(self, flags):
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [PROGRAM, "--headless=new", "--remote-debugging-pipe",
                   f"--user-data-dir={self._profile.name}", *flags, "about:blank"]
        placed = f'exec "$@" {COMMANDS}<&{commands} {ANSWERS}>&{answers}'
        self._process = subprocess.Popen(["bash", "-c", placed, "bash", *command],
                                         pass_fds=(commands, answers), stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self._numbers, self._rest = itertools.count(1), b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ask("Browser.close")
        self._process.wait()
        self._profile.cleanup()

    def ask(self, method, session=None, **parameters):
        """Send one command of the DevTools protocol; returns its result (dict). Raises RuntimeError if it is
        refused."""
        number = next(self._numbers)
        said = {"id": number, "method": method, "params": parameters,
                **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(said).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    @contextlib.contextmanager
    def traced(self, categories):
        """Record what the browser traces of these categories meanwhile; yields the list that holds its events
        (dict) afterwards."""
        events = []
        self.ask("Tracing.start", traceConfig={"includedCategories": categories.split(",")},
                 transferMode="ReportEvents")
        try:
            yield events
        finally:
            self.ask("Tracing.end")
            while (said := self._message()).get("method") != "Tracing.tracingComplete":
                if said.get("method") == "Tracing.dataCollected":
                    events += said["params"]["value"]

    def _message(self):
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 20)
            if not more:
                raise RuntimeError("Chromium has ended")
            self._rest += more
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)

    def context(self):
        """Return the id of a new context: its own cache, storage and cookies."""
        return self.ask("Target.createBrowserContext")["browserContextId"]

    def tab(self, context, before, width=1440, height=900):
        """Return a new, empty Page that has come to rest; `before`: JavaScript that runs before that of any
        address it goes to."""
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page(self, target,
                    self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=False)
        page.ask("Page.enable")
        page.ask("Page.addScriptToEvaluateOnNewDocument", source=before)
        time.sleep(SETTLED)
        return page


class Page:
    """One tab."""

    def __init__(self, browser, target, session):
        self._browser, self._target, self._session = browser, target, session

    def go(self, url):
        self.ask("Page.navigate", url=url)

    def ask(self, method, **parameters):
        return self._browser.ask(method, self._session, **parameters)

    def value(self, expression):
        """Return the value of a JavaScript expression; a promise is waited for."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(
                f"{expression}: {found['exceptionDetails'].get('exception', {}).get('description')}")
        return found["result"].get("value")

    def close(self):
        self._browser.ask("Target.closeTarget", targetId=self._target)
