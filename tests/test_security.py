"""Attacks on a viewer that listens on a real port: foreign pages, foreign users, hostile paths, names, bodies and sockets."""

import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from runicorn import guard, layout, server as serving, viewer
from runicorn.bell import Bell
from runicorn.errors import BusyError
from runicorn.mirrors import Mirrors
from test_reader import make_run

KEY = "local:vision/resnet50/20250123_180000_abc123"
SECRET = "correct-horse-battery-staple"
NOBODY = 65534


class Viewer:
    """A viewer in a thread of its own."""

    def __init__(self, home, root, host="127.0.0.1"):
        self.mirrors = Mirrors(home, Bell(), offline=True)
        self.server = viewer.start(home, [("local", root)], self.mirrors, Bell(), host=host, port=0, offline=True)
        self.port, self.token = self.server.port, self.server.token
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        self.server.stop()
        self.thread.join()
        self.mirrors.stop()

    def ask(self, method, path, body=None, headers=(), host="127.0.0.1"):
        """Return (status, headers, body) as a plain HTTP client of our own user sees them."""
        line = http.client.HTTPConnection(host, self.port, timeout=10)
        try:
            line.putrequest(method, path, skip_host="Host" in dict(headers), skip_accept_encoding=True)
            for name, value in headers:
                line.putheader(name, value)
            if body is not None and not any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers):
                line.putheader("Content-Length", str(len(body)))
            line.endheaders(body)
            answer = line.getresponse()
            return answer.status, dict((name.lower(), value) for name, value in answer.getheaders()), answer.read()
        finally:
            line.close()

    def change(self, path="/api/settings", body=b'{"preferences": {"theme": "dark"}}', method="PATCH", token=None, **headers):
        given = {"Content-Type": "application/json", "X-Runicorn-Token": self.token if token is None else token}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.ask(method, path, body, [(name, value) for name, value in given.items() if value])


@pytest.fixture
def root(tmp_path):
    make_run(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def site(home, root):
    made = Viewer(home, root)
    yield made
    made.stop()


def code(answer):
    return answer[0], json.loads(answer[2])["error"]


# -- other sites' pages -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example", "", "127.0.0.1@evil.example",
                                  "10.0.0.1:{port}", "[::ffff:10.0.0.1]", "localhost:notaport", "local host"])
@pytest.mark.parametrize("path", ["/api/runs", "/", "/static/app.js"])
def test_a_foreign_host_is_refused(site, host, path):
    assert code(site.ask("GET", path, headers=[("Host", host.format(port=site.port))])) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.0.0.2"])
def test_every_name_of_this_machine_is_served(site, host):
    assert site.ask("GET", "/api/runs", headers=[("Host", f"{host}:{site.port}")])[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://evil.example", "http://localhost.evil.example", "file://", ""])
def test_a_foreign_origin_is_refused(site, origin):
    assert code(site.ask("GET", "/api/runs", headers=[("Origin", origin)])) == (403, "foreign_origin")
    assert code(site.change(Origin=origin or " ")) == (403, "foreign_origin")


def test_our_own_page_and_a_link_from_elsewhere_are_served(site):
    assert site.change(Origin=f"http://127.0.0.1:{site.port}", Sec_Fetch_Site="same-origin")[0] == 200
    assert site.ask("GET", "/", headers=[("Sec-Fetch-Site", "cross-site")])[0] == 200
    for where in ("cross-site", "same-site"):
        assert code(site.ask("GET", "/api/runs", headers=[("Sec-Fetch-Site", where)])) == (403, "foreign_origin")


def test_no_answer_allows_another_origin_or_a_frame(site):
    for path in ("/", "/api/runs", "/api/nothing", "/static/app.js"):
        _, headers, _ = site.ask("GET", path)
        assert "access-control-allow-origin" not in headers and headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin" and "default-src 'self'" in headers["content-security-policy"]
    assert site.ask("OPTIONS", "/api/settings", headers=[("Origin", f"http://127.0.0.1:{site.port}"), ("Access-Control-Request-Method", "PATCH")])[0] == 405


@pytest.mark.parametrize("token", ["", "wrong", "x" * 5000, "\xff\xfe"])
def test_a_change_without_the_token_is_refused(site, token):
    assert code(site.change(token=token)) == (403, "token")


def test_the_cookie_alone_changes_nothing(site):
    assert code(site.change(token="", Cookie=f"runicorn-{site.port}={site.token}")) == (403, "token")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""])
def test_form_posts_are_refused(site, kind):
    assert code(site.change(Content_Type=kind)) == (415, "content_type")


# -- bodies -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("body, status, word", [
    (b" " * (2 << 20), 413, "too_large"), (b'{"preferences":' * 50 + b"1" + b"}" * 50, 400, "body"), (b"[" * 200_000, 400, "body"),
    (b'{"a":' * 200_000, 400, "body"), (b"\xff\xfe{}", 400, "body"), (b"nonsense", 400, "body"), (b"[]", 400, "body"), (b"12", 400, "body"),
    (b'{"preferences": []}', 400, "usage"), (b"", 400, "usage"), (b'{"preferences": {"x": 1e9999}}', 200, None),
])
def test_bodies_that_are_no_small_shallow_objects(site, body, status, word):
    answer = site.change(body=body)
    assert answer[0] == status and json.loads(answer[2]).get("error") == word
    json.loads(answer[2], parse_constant=pytest.fail)


def test_chunked_and_lying_lengths(site):
    assert code(site.change(body=b"2\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked")) == (413, "too_large")
    assert site.change(body=b"{}", Content_Length="-5")[0] in (400, 413)
    assert site.change(body=b"{}", Content_Length="many")[0] in (400, 413)


# -- paths --------------------------------------------------------------------------------------------------------

@pytest.fixture
def traps(root, tmp_path):
    """A run's folder with every kind of trap in it, and a secret beside it."""
    folder = root / "vision/resnet50/runs/20250123_180000_abc123"
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/inner.txt").write_text(SECRET)
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path / "secrets")
    (folder / "events.rank1.jsonl").symlink_to(tmp_path / "secret.txt")
    (folder / "logs.2.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe")
    (folder / "plain.txt").write_text("plain")
    return folder


@pytest.mark.parametrize("name", [
    "../meta.json", "../../../../../../secret.txt", "..%2f..%2fsecret.txt", "%2e%2e/secret.txt", "/etc/passwd", "link.txt", "linked/inner.txt", "./plain.txt", "plain.txt/",
    "a\0b", "pipe", "", ".", "..", "linked", "sub/../plain.txt", "..\\..\\secret.txt", "plain.txt\0.png", "x" * 5000, "a/" * 100 + "b", "meta.json/../../x", "//etc/passwd",
])
def test_no_path_leaves_the_run(site, traps, name):
    for path in (f"/api/file?run={KEY}&name={quote(name, safe='')}", f"/api/file?run={KEY}&name={quote(quote(name, safe=''), safe='')}"):
        status, _, body = site.ask("GET", path)
        assert status in (400, 404) and SECRET.encode() not in body


def test_what_is_really_there_is_served_and_links_are_not_even_listed(site, traps):
    assert site.ask("GET", f"/api/file?run={KEY}&name=plain.txt")[2] == b"plain"
    listed = {file["name"] for file in json.loads(site.ask("GET", f"/api/files?run={KEY}")[2])["files"]}
    assert "plain.txt" in listed and not listed & {"link.txt", "linked", "linked/inner.txt", "pipe", "events.rank1.jsonl", "logs.2.txt"}


def test_links_that_pose_as_the_runs_own_files_show_nothing(site, traps):
    for path in (f"/api/logs?run={KEY}", f"/api/logs?run={KEY}&file=logs.2.txt", f"/api/logs?run={KEY}&attempt=2", f"/api/logs/search?run={KEY}&q=horse&file=logs.2.txt",
                 f"/api/series?run={KEY}&metric=val/loss&rank=1", f"/api/runs/{KEY}", f"/api/export?run={KEY}&format=csv"):
        assert SECRET.encode() not in site.ask("GET", path)[2]


@pytest.mark.parametrize("path", ["/static/../setup.cfg", "/static/%2e%2e/setup.cfg", "/static/..%2f..%2fetc/passwd", "/static//etc/passwd", "/static/%00", "/..", "/static/",
                                  "/api/runs/../../etc", "/api/runs/%2e%2e%2f%2e%2e", "/api/runs/%ff"])
def test_hostile_addresses(site, path):
    status, headers, body = site.ask("GET", path)
    assert status in (400, 404) and headers["content-type"].startswith("application/json") and b"root:" not in body and b"[metadata]" not in body


# -- names --------------------------------------------------------------------------------------------------------

def test_run_and_file_names_inject_no_header_and_no_script(home, tmp_path):
    evil = 'x\r\nSet-Cookie: stolen=1\r\n\r\n<script>alert(1)</script>"'
    folder = make_run(tmp_path / "evil", project=evil, name=evil, tags=[evil], notes=evil)
    (folder / 'a\r\nSet-Cookie: stolen=1\r\n".txt').write_text("x")
    site = Viewer(home, tmp_path / "evil")
    try:
        row = json.loads(site.ask("GET", "/api/runs")[2])["runs"][0]
        key = quote(row["key"], safe="")
        name = quote('a\r\nSet-Cookie: stolen=1\r\n".txt', safe="")
        answers = [site.ask("GET", f"/api/runs/{key}"), site.ask("GET", f"/runs/{key}"), site.ask("GET", f"/api/file?run={key}&name={name}"),
                   site.ask("GET", f"/api/export?run={key}&format=csv"), site.ask("GET", "/api/runs/" + quote(evil, safe="")),
                   site.ask("GET", f"/?token=x&next={name}")]
        assert [status for status, _, _ in answers[:4]] == [200] * 4
        assert all("stolen" not in headers.get("set-cookie", "") for _, headers, _ in answers)
        assert row["project"] == evil and answers[0][1]["content-type"] == "application/json" and answers[0][1]["x-content-type-options"] == "nosniff"
        assert b"<script>alert" not in answers[1][2]
    finally:
        site.stop()


# -- other users of this machine ----------------------------------------------------------------------------------

ASK = """
import http.client, sys
line = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
line.request("GET", sys.argv[2], headers=dict(item.split("=", 1) for item in sys.argv[3:]))
answer = line.getresponse()
print(answer.status, answer.getheader("set-cookie"), answer.read().decode())
"""


def as_nobody(*words):
    """Run Python code as another user, really: setpriv changes the uid before the interpreter starts."""
    python = shutil.which("python3", path="/usr/bin:/bin") or "/usr/bin/python3"
    done = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-I", "-c", ASK, *map(str, words)],
                          capture_output=True, text=True, timeout=30, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("path", ["/", "/api/runs", "/static/app.js", "/api/settings"])
def test_another_users_process_gets_nothing_with_or_without_the_token(site, path):
    for words in ((), (f"X-Runicorn-Token={site.token}",), (f"Cookie=runicorn-{site.port}={site.token}",)):
        out = as_nobody(site.port, path, *words)
        assert out.startswith("403 None") and "foreign_user" in out and site.token not in out


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
def test_under_sudo_the_one_who_called_is_let_in(site, monkeypatch):
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert as_nobody(site.port, "/api/runs").startswith("200")


def test_a_peer_that_closed_its_end_is_not_believed(site):
    """Its line then shows uid 0 or no owner; the answer would go nowhere but into whoever takes the port next."""
    with socket.create_connection(("127.0.0.1", site.port)) as line:
        line.sendall(f"GET /api/runs HTTP/1.0\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        line.shutdown(socket.SHUT_WR)
        assert b" 200 " not in line.recv(100)


@pytest.mark.parametrize("state, uid, found", [("01", 1000, 1000), ("06", 0, -1), ("08", 0, -1), ("05", 1000, -1)])
def test_only_an_established_end_has_an_owner(monkeypatch, state, uid, found):
    ends = (("127.0.0.1", 4000), ("127.0.0.1", 5000))
    path = table(state, uid)
    monkeypatch.setattr(guard, "by_diag", lambda peer, here: guard.by_table(peer, here, [path]))
    assert guard.peer_uid(*ends) == found
    assert guard.peer_uid(("127.0.0.1", 4001), ends[1]) is None and guard.peer_uid(None, None) is None
    assert guard.by_table(*ends, tables=["/nothing"]) is None


@pytest.mark.parametrize("host, client", [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])
def test_both_ways_of_asking_the_kernel_agree(host, client):
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        with socket.socket(socket.AF_INET6 if ":" in client else socket.AF_INET) as line:
            line.connect((client, listener.getsockname()[1]))
            served, peer = listener.accept()
            with served:
                ends = peer[:2], served.getsockname()[:2]
                assert guard.by_diag(*ends) == guard.by_table(*ends) == (guard.ESTABLISHED, os.getuid())
                line.shutdown(socket.SHUT_RDWR)
            assert guard.peer_uid(*ends) in (-1, None)
    assert guard.by_diag(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


def table(state, uid):
    """Write a /proc/net/tcp with one line; return its path."""
    path = Path(os.environ["HOME"]) / f"tcp-{state}-{uid}"
    path.write_text("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                    f"   0: 0100007F:0FA0 0100007F:1388 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 12345 1 0000\n"
                    "   1: 0100007F:1388 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000  4242        0 12346 1 0000\n")
    return str(path)


def test_where_the_kernel_cannot_tell_the_token_decides(site):
    site.server.site.guard.peer_uid = lambda peer, here: None
    assert code(site.ask("GET", "/api/runs")) == (401, "token") and site.ask("GET", "/")[0] == 401
    assert site.ask("GET", "/api/runs", headers=[("X-Runicorn-Token", site.token)])[0] == 200
    status, headers, _ = site.ask("GET", f"/?token={site.token}&filter=a%20b")
    assert status == 303 and headers["location"].endswith("/?filter=a%20b") and site.token in headers["set-cookie"] and site.token not in headers["location"]
    assert site.ask("GET", "/api/runs", headers=[("Cookie", headers["set-cookie"].split(";")[0])])[0] == 200


def test_beyond_loopback_every_request_needs_the_token(home, root):
    site = Viewer(home, root, host="0.0.0.0")
    try:
        assert site.server.address.endswith(f"/?token={site.token}")
        for path in ("/", "/api/runs", "/static/app.js"):
            assert code(site.ask("GET", path)) == (401, "token")
            assert site.ask("GET", path, headers=[("X-Runicorn-Token", site.token), ("Host", "gpu-server.example.com:23300")])[0] == 200
            assert code(site.ask("GET", path, headers=[("X-Runicorn-Token", site.token), ("Origin", "http://evil.example")])) == (403, "foreign_origin")
    finally:
        site.stop()


def test_the_tokens_file_is_ours_alone_and_goes_with_the_viewer(home, root):
    site = Viewer(home, root)
    note = home / "run" / f"{site.port}.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600 and json.loads(note.read_text())["pid"] == os.getpid()
    site.stop()
    assert not note.exists()


# -- sockets ------------------------------------------------------------------------------------------------------

def test_a_thousand_idle_and_dripping_sockets_hold_no_thread(site):
    serving.more_files()
    before, lines = threading.active_count(), []
    try:
        for n in range(1000):
            lines.append(socket.create_connection(("127.0.0.1", site.port)))
            lines[-1].sendall(b"GET / HT" if n % 2 else b"")
        assert site.ask("GET", "/api/runs")[0] == 200
        assert threading.active_count() <= before + 3
    finally:
        for line in lines:
            line.close()


def test_slow_heads_and_bodies_are_given_up(site, monkeypatch):
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(serving, "BODY_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        line.sendall(b"GET /api")
        assert line.recv(100) == b""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        line.sendall((f"PATCH /api/settings HTTP/1.0\r\nHost: 127.0.0.1:{site.port}\r\nContent-Type: application/json\r\n"
                      f"X-Runicorn-Token: {site.token}\r\nContent-Length: 100\r\n\r\n{{").encode())
        assert b"408" in line.recv(1000)
    assert site.ask("GET", "/api/runs")[0] == 200


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET / HTTP/1.0\r\nHost\r\n\r\n",
                                  b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 5000 + b"\r\n", b"GET /" + b"x" * 100_000 + b" HTTP/1.0\r\n\r\n", b"G" * 200_000,
                                  b"GET http://evil.example/ HTTP/1.0\r\nHost: evil.example\r\n\r\n"])
def test_garbage_is_refused_and_the_viewer_goes_on(site, head):
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        try:
            line.sendall(head)
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(65536)
        except OSError:
            answer = b""        # closed on us: that is an answer too
    assert b" 200 " not in answer.split(b"\r\n")[0] and b"Traceback" not in answer
    assert site.ask("GET", "/api/runs")[0] == 200


def test_two_hundred_waiting_clients_leave_room(site):
    mark = json.loads(site.ask("GET", "/api/runs")[2])["news"]
    waiting = []
    try:
        for _ in range(200):
            line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
            line.request("GET", f"/api/news?since={mark}&topic=test:1&timeout=15")
            waiting.append(line)
        assert site.ask("GET", "/api/runs")[0] == 200
        time.sleep(0.2)
        site.server.site.bell.ring("test:1")
        assert all(json.load(line.getresponse())["topics"] == ["test:1"] for line in waiting)
    finally:
        for line in waiting:
            line.close()


def test_a_busy_port_says_who_holds_it_and_offers_the_next(home, root, site):
    with pytest.raises(BusyError, match=rf"port {site.port} is held by process {os.getpid()} .*take another: runicorn viewer --port \d+"):
        serving.listen("127.0.0.1", site.port)


def test_both_loopback_addresses_are_served(site):
    assert site.ask("GET", "/api/runs", host="::1")[0] == 200


# -- secrets ------------------------------------------------------------------------------------------------------

def test_secrets_appear_in_no_answer_and_no_file(site, home, caplog):
    caplog.set_level(0)
    body = {"name": "GPU Server 1", "host": "127.0.0.1", "port": 1, "user": "alice", "auth": "password", "password": SECRET, "passphrase": SECRET, "start": False}
    answers = [site.change("/api/connections", json.dumps(body).encode(), "POST")[2]]
    answers.append(site.change("/api/connections", json.dumps({**body, "port": "x"}).encode(), "POST")[2])
    answers.append(site.change("/api/connections/test", json.dumps(body).encode(), "POST")[2])
    answers.append(site.change("/api/connections/browse", json.dumps({**body, "path": "~"}).encode(), "POST")[2])
    for path in ("/api/connections", "/api/settings", "/api", "/api/runs", "/api/connections/test/1"):
        answers.append(site.ask("GET", path)[2])
    assert all(SECRET.encode() not in answer for answer in answers)
    assert SECRET not in caplog.text
    assert all(SECRET.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())


OFFLINE = textwrap.dedent("""
    import json, sys, threading, urllib.request
    from pathlib import Path
    connected = []
    sys.addaudithook(lambda event, words: connected.append(words[1]) if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen") else None)
    from runicorn import viewer
    from runicorn.bell import Bell
    from runicorn.mirrors import Mirrors
    home, bell = Path(sys.argv[1]), Bell()
    mirrors = Mirrors(home, bell, offline=True)
    mirrors.save({"name": "gpu1", "host": "192.0.2.1", "user": "alice"}, start=True)
    server = viewer.start(home, [("local", home / "experiments")], mirrors, bell, port=0, offline=True)
    mirrors.start_all()
    threading.Thread(target=server.serve_forever).start()
    del connected[:]                        # what binding the port looked up
    def ask(path, body=None):
        request = urllib.request.Request(server.url + path, data=body and json.dumps(body).encode(), headers={"Content-Type": "application/json", "X-Runicorn-Token": server.token})
        try:
            return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).read()
        except urllib.error.HTTPError as error:
            return error.read()
    for path in ("/", "/api/runs", "/api/connections", "/api/settings"):
        ask(path)
    for order in ("start", "sync", "reconnect"):
        ask("/api/connections/gpu1/" + order, {})
    for what in ("browse", "plan", "test"):
        assert b'"offline"' in ask("/api/connections/" + what, {"name": "gpu1", "host": "192.0.2.1", "user": "alice", "path": "~"})
    server.stop(); mirrors.stop()
    print(json.dumps([str(where) for where in connected if str(server.port) not in str(where)]))
""")


def test_offline_opens_no_socket_outwards(home):
    done = subprocess.run([sys.executable, "-c", OFFLINE, str(home)], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_layout_refuses_what_the_pages_could_be_made_to_ask():
    for name in ("..", "a/../b", "/a", "a//b", "", "a\0"):
        with pytest.raises(layout.LayoutError):
            layout.safe_relative(name)
