"""A viewer of its own process, asked over its port."""

import http.client
import json
import threading

from runicorn.connections.registry import Registry
from runicorn.news import Bell
from runicorn.viewer import app

SECRET = "correct-horse-battery-staple"
NOBODY = 65534                  # a user of this machine who owns nothing


class Viewer:
    """A viewer in a thread of its own."""

    def __init__(self, home, root, host="127.0.0.1", offline=True):
        self.connections = Registry(home, Bell(), offline=offline)
        self.server = app.start(home, [("local", root)], self.connections, Bell(), host=host, port=0,
                                offline=offline)
        self.port, self.token = self.server.port, self.server.token
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        self.server.stop()
        self.thread.join()
        self.connections.stop()

    def ask(self, method, path, body=None, headers=(), host="127.0.0.1"):
        """Return (status, headers, body) as a plain HTTP client of our own user sees them."""
        line = http.client.HTTPConnection(host, self.port, timeout=10)
        try:
            line.putrequest(method, path, skip_host="Host" in dict(headers), skip_accept_encoding=True)
            for name, value in headers:
                line.putheader(name, value)
            if (body is not None
                and not any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers)):
                line.putheader("Content-Length", str(len(body)))
            line.endheaders(body)
            answer = line.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            line.close()

    def change(self, path="/api/settings", body=b'{"preferences": {"theme": "dark"}}', method="PATCH",
               token=None, **headers):
        given = {"Content-Type": "application/json",
                 "X-Runicorn-Token": self.token if token is None else token}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.ask(method, path, body, [(name, value) for name, value in given.items() if value])


def code(answer):
    return answer[0], json.loads(answer[2])["error"]
