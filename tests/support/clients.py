"""A viewer's application asked without a socket, watched by wsgiref's validator."""

import gzip
import json
import zlib
from io import BytesIO
from urllib.parse import urlencode
from wsgiref.validate import validator

from runicorn.viewer import app as viewer


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = int(status.split()[0]), {name.lower(): value
                                                                        for name, value in headers}, body
        if self.headers.get("content-encoding") == "gzip":
            self.plain = gzip.decompress(body)
        elif self.headers.get("content-encoding") == "deflate":
            self.plain = zlib.decompress(body)
        else:
            self.plain = body

    @property
    def json(self):
        return json.loads(self.plain)


class Client:
    """Calls the application without a socket, as the page would: with the cookie, and with the token for
    changes."""

    def __init__(self, server, app):
        self.server, self.app = server, validator(app)

    def __call__(self, method, path, body=None, headers=None, gzipped=False, **query):
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path.encode().decode("latin1"),
            "QUERY_STRING": urlencode(query, doseq=True),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": "HTTP/1.0",
            "HTTP_HOST": f"127.0.0.1:{self.server.port}",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(raw),
            "wsgi.errors": BytesIOText(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "HTTP_COOKIE":
            f"{viewer.cookie_name(self.server.port)}={self.server.site.guard.cookie(self.server.port)}",
        }
        if method not in ("GET", "HEAD"):
            environ.update(
                {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(raw)),
                 "HTTP_X_RUNICORN_TOKEN": self.server.token}
            )
        if gzipped:
            environ["HTTP_ACCEPT_ENCODING"] = gzipped if isinstance(gzipped, str) else "gzip, br"
        environ.update(headers or {})
        heard = []
        answer = self.app(environ, lambda status, found, exc_info=None: heard.append((status, found)))
        try:
            return Reply(*heard[0], b"".join(answer))
        finally:
            answer.close()

    def get(self, path, **query):
        reply = self("GET", path, **query)
        assert reply.status == 200, reply.plain
        return reply.json


class BytesIOText:
    """wsgi.errors: what bottle would print of a bug fails the test."""

    def write(self, text):
        raise AssertionError(text)

    def writelines(self, lines):
        raise AssertionError("".join(lines))

    def flush(self):
        pass
