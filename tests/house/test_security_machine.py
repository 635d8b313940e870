"""Attacks from this machine: other users' processes, slow, idle and many sockets; and secrets looked for in
every answer."""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from asking import AskingServer
from viewers import NOBODY, SECRET, Viewer, code
from waiting import until

from runicorn import layout, local_names, loopback
from runicorn.errors import BusyError
from runicorn.viewer import access
from runicorn.viewer import http_server as serving
from runicorn.viewer.routes_connections import ROUTES

pytest_plugins = ["attacked"]


# -- other users of this machine -----------------------------------------------------------------------------

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
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-I", "-c", ASK,
         *map(str, words)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd="/",
    )
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
    """Its line then shows no owner; the answer would go nowhere but into whoever takes the port next."""
    closed, asked = threading.Event(), site.server.site.guard.peer_user
    site.server.site.guard.peer_user = lambda *ends: closed.wait(10) and asked(*ends)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        line.sendall(f"GET /api/runs HTTP/1.0\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        line.shutdown(socket.SHUT_WR)
        closed.set()
        assert line.recv(100).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("state, uid, found",
                         [("01", 1000, 1000), ("06", 0, -1), ("08", 0, -1), ("05", 1000, -1)])
def test_only_an_established_end_has_an_owner(monkeypatch, state, uid, found):
    ends = (("127.0.0.1", 4000), ("127.0.0.1", 5000))
    path = table(state, uid)
    monkeypatch.setattr(loopback, "by_diag", lambda peer, here: loopback.by_table(peer, here, [path]))
    assert loopback.peer_user(*ends) == found
    assert loopback.peer_user(("127.0.0.1", 4001), ends[1]) is None and loopback.peer_user(None, None) is None
    assert loopback.by_table(*ends, tables=["/nothing"]) is None


@pytest.mark.parametrize("host, client",
                         [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])
def test_both_ways_of_asking_the_kernel_agree(host, client):
    families = [socket.AF_INET6 if ":" in end else socket.AF_INET for end in (host, client)]
    with socket.create_server((host, 0), family=families[0]) as listener, socket.socket(families[1]) as line:
        line.connect((client, listener.getsockname()[1]))
        served, peer = listener.accept()
        with served:
            ends = peer[:2], served.getsockname()[:2]
            owned = loopback.by_table(*ends)
            assert loopback.by_diag(*ends) == owned and owned[:2] == (loopback.ESTABLISHED, os.getuid())
            assert owned[2]
            line.shutdown(socket.SHUT_RDWR)
        assert loopback.peer_user(*ends) in (-1, None)
    assert loopback.by_diag(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


def test_an_end_that_is_not_accepted_yet_is_nobodys():
    """The kernel tells 0 for its owner, which is root's number; whose program it is shows when it is
    accepted."""
    with socket.create_server(("127.0.0.1",
                               0)) as listener, socket.create_connection(listener.getsockname()) as line:
        ends = line.getpeername(), line.getsockname()
        for found in (loopback.by_diag(*ends), loopback.by_table(*ends)):
            assert found[0] == loopback.ESTABLISHED and not found[2]
        assert loopback.peer_user(*ends) == loopback.CLOSING
        with listener.accept()[0]:
            assert loopback.peer_user(*ends) == os.getuid()


def table(state, uid):
    """Write a /proc/net/tcp with one line; return its path."""
    path = Path(os.environ["HOME"]) / f"tcp-{state}-{uid}"
    path.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        f"   0: 0100007F:0FA0 0100007F:1388 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 "
        "12345 1 0000\n"
        "   1: 0100007F:1388 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000  4242        0 12346 1 "
        "0000\n"
    )
    return str(path)


def test_where_the_kernel_cannot_tell_the_token_decides(site):
    site.server.site.guard.peer_user = lambda *ends: None
    assert code(site.ask("GET", "/api/runs")) == (401, "token") and site.ask("GET", "/")[0] == 401
    assert site.ask("GET", "/api/runs", headers=[("X-Runicorn-Token", site.token)])[0] == 200
    status, headers, _ = site.ask("GET", f"/?token={site.token}&filter=a%20b")
    assert (
        status == 303
        and headers["location"].endswith("/?filter=a%20b")
        and site.token not in headers["set-cookie"]
        and site.token not in headers["location"]
    )
    assert site.ask("GET", "/api/runs", headers=[("Cookie", headers["set-cookie"].split(";")[0])])[0] == 200


def test_beyond_loopback_every_request_needs_the_token(home, root):
    site = Viewer(home, root, host="0.0.0.0")
    try:
        assert site.server.address.endswith(f"/?token={site.token}")
        for path in ("/", "/api/runs", "/static/app.js"):
            assert code(site.ask("GET", path)) == (401, "token")
            assert site.ask("GET", path,
                            headers=[("X-Runicorn-Token", site.token),
                                     ("Host", "gpu-server.example.com:23300")])[0] == 200
            headers = [("X-Runicorn-Token", site.token), ("Origin", "http://evil.example")]
            assert code(site.ask("GET", path, headers=headers)) == (403, "foreign_origin")
    finally:
        site.stop()


def test_the_tokens_file_is_ours_alone_and_goes_with_the_viewer(home, root):
    site = Viewer(home, root)
    note = home / "run" / f"{site.port}.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600 and json.loads(note.read_text())["pid"] == os.getpid()
    site.stop()
    assert not note.exists()


# -- sockets -------------------------------------------------------------------------------------------------


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
        line.sendall(
            (
                f"PATCH /api/settings HTTP/1.0\r\nHost: 127.0.0.1:{site.port}\r\n"
                "Content-Type: application/json\r\n"
                f"X-Runicorn-Token: {site.token}\r\nContent-Length: 100\r\n\r\n{{"
            ).encode()
        )
        assert b"408" in line.recv(1000)
    assert site.ask("GET", "/api/runs")[0] == 200


def test_a_client_that_takes_nothing_is_given_up(site, root, monkeypatch):
    monkeypatch.setattr(serving, "SEND_SECONDS", 0.3)
    big = root / "vision/resnet50/runs/20250123_180000_abc123/weights.bin"
    with open(big, "wb") as file:
        file.truncate(64 << 20)                 # more than all buffers between us
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        line.sendall(f"GET /api/file?run=abc123&name=weights.bin HTTP/1.0\r\nHost: 127.0.0.1:{site.port}\r\n"
                     "\r\n".encode())
        assert line.recv(12) == b"HTTP/1.1 200"
        until(lambda: threading.active_count() <= before)
    assert site.ask("GET", "/api/runs")[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.0\r\n\r\n",
        b"G" * 200_000,
        b"GET http://evil.example/ HTTP/1.0\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_garbage_is_refused_and_the_viewer_goes_on(site, head):
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        try:
            line.sendall(head)
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(65536)
        except OSError:
            answer = b""  # closed on us: that is an answer too
    assert b" 200 " not in answer.split(b"\r\n")[0] and b"Traceback" not in answer
    assert site.ask("GET", "/api/runs")[0] == 200


def test_a_connection_is_kept_for_the_next_request_and_closed_at_its_deadline(site, monkeypatch):
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.5)
    # a stopped viewer of an earlier test may still answer a browser
    others = set(threading.enumerate())
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)) as line:
        for path in ("/", "/api/runs", "/static/app.js", "/static/nothing.js", "/api/runs"):
            line.request("GET", path)
            kept = line.sock
            answer = line.getresponse()
            assert answer.status == (404 if "nothing" in path else 200) and answer.read()
            assert line.sock is kept
        assert line.sock.recv(100) == b""       # closed by the viewer, and no thread was left with it
        assert [one.name for one in set(threading.enumerate()) - others].count("request") == 0


@pytest.mark.parametrize(
    "head, ending",
    [
        ("GET /api HTTP/1.1\r\n{host}\r\nGET /api/runs HTTP/1.1\r\n{host}\r\n", ""),
        ("GET /api HTTP/1.1\r\n{host}Content-Length: 40\r\n\r\n", "GET /api/runs HTTP/1.1\r\n{host}\r\n"),
        ("GET /api HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n",
         "0\r\n\r\nGET /api/runs HTTP/1.1\r\n{host}\r\n"),
        ("GET /api HTTP/1.1\r\n{host}Connection: close\r\n\r\n", ""),
        ("GET /api HTTP/1.0\r\n{host}\r\n", ""),
        ("GET /api/logs/search?run={run}&q=x HTTP/1.1\r\n{host}\r\n", ""),
    ],
)
def test_what_follows_a_head_is_never_taken_for_a_request(site, head, ending):
    run = "local:vision/resnet50/20250123_180000_abc123"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        line.sendall((head + ending).format(host=f"Host: 127.0.0.1:{site.port}\r\n", run=run).encode())
        said = b"".join(iter(lambda: line.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 200") and said.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in said


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
    with pytest.raises(BusyError,
                       match=rf"port {site.port} is held by process {os.getpid()} .*take another: runicorn "
                             r"viewer --port \d+"):
        serving.listen("127.0.0.1", site.port)


def test_both_loopback_addresses_are_served(site):
    assert site.ask("GET", "/api/runs", host="::1")[0] == 200


# -- secrets -------------------------------------------------------------------------------------------------


def test_secrets_appear_in_no_answer_and_no_file(home, root, caplog):
    """A connection at work with a password that a real SSH server refuses; then every route there is is
    asked."""
    caplog.set_level(0)
    with AskingServer(password="another one").trusted_in(home) as server:
        site = Viewer(home, root, offline=False)
        try:
            given = {**server.connection(name="GPU Server 1"), "password": SECRET, "passphrase": SECRET}
            answers = [site.change("/api/connections", json.dumps(body).encode(), "POST")[2]
                       for body in (given, {**given, "port": "x"})]
            for what in ("test", "browse", "plan"):
                body = {**given, "path": "~"} if what == "browse" else given
                answers.append(site.change(f"/api/connections/{what}", json.dumps(body).encode(), "POST")[2])
            assert until(lambda: "password" in server.attempts
                         and site.connections.list()[0]["state"] != "connecting")
            answers += [answer for route in ROUTES
                        for answer in asked(site, route, json.loads(answers[2]).get("test", "t"))]
        finally:
            site.stop()
    assert len(answers) > len(ROUTES) and all(SECRET.encode() not in answer for answer in answers)
    assert SECRET not in caplog.text and (home / "logs/sync.log").stat().st_size
    assert all(SECRET.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())


def asked(site, route, test):
    """Yield the bodies that a route answers, asked as the page would ask it, and with nothing useful."""
    path = re.sub(r"<name[^>]*>", "GPU%20Server%201", re.sub(r"<key[^>]*>", "abc123", route.rule)).replace(
        "<test>", test)
    path = re.sub(r"<order:re:[^>]*>", "sync", path)
    for query in ("", "?run=abc123&metric=val/loss&q=x&name=meta.json&step=0&timeout=0"):
        body = None if route.method == "GET" else b"{}"
        yield site.change(path + query, body, route.method)[2] if body else site.ask("GET", path + query)[2]


OFFLINE = textwrap.dedent("""
    import json, sys, threading, urllib.request
    from pathlib import Path
    connected = []
    outward = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen")
    sys.addaudithook(lambda event, words: connected.append(words[1]) if event in outward else None)
    from runicorn.viewer import app as viewer
    from runicorn.news import Bell
    from runicorn.connections.registry import Registry
    home, bell = Path(sys.argv[1]), Bell()
    mirrors = Registry(home, bell, offline=True)
    mirrors.save({"name": "gpu1", "host": "192.0.2.1", "user": "alice"}, start=True)
    server = viewer.start(home, [("local", home / "experiments")], mirrors, bell, port=0, offline=True)
    mirrors.start_all()
    threading.Thread(target=server.serve_forever).start()
    del connected[:]                        # what binding the port looked up
    def ask(path, body=None):
        headers = {"Content-Type": "application/json", "X-Runicorn-Token": server.token}
        request = urllib.request.Request(server.url + path, data=body and json.dumps(body).encode(),
                                         headers=headers)
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            return opener.open(request, timeout=10).read()
        except urllib.error.HTTPError as error:
            return error.read()
    for path in ("/", "/api/runs", "/api/connections", "/api/settings"):
        ask(path)
    for order in ("start", "sync", "reconnect"):
        ask("/api/connections/gpu1/" + order, {})
    for what in ("browse", "plan", "test"):
        assert b'"offline"' in ask("/api/connections/" + what,
                                   {"name": "gpu1", "host": "192.0.2.1", "user": "alice", "path": "~"})
    server.stop(); mirrors.stop()
    print(json.dumps([str(where) for where in connected if str(server.port) not in str(where)]))
""")


def test_offline_opens_no_socket_outwards(home):
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(home)], capture_output=True, text=True, timeout=60,
        cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_layout_refuses_what_the_pages_could_be_made_to_ask():
    for name in ("..", "a/../b", "/a", "a//b", "", "a\0"):
        with pytest.raises(layout.LayoutError):
            local_names.safe_relative(name)


# -- the token lasts -----------------------------------------------------------------------------------------

def test_the_token_is_made_once_and_one_command_makes_a_new_one(tmp_path):
    first = access.lasting_token(tmp_path / "home")
    assert access.lasting_token(tmp_path / "home") == first and len(first) == 43
    assert os.stat(tmp_path / "home" / "token").st_mode & 0o777 == 0o600
    second = access.lasting_token(tmp_path / "home", renew=True)
    assert second != first and access.lasting_token(tmp_path / "home") == second


def test_a_token_that_others_could_read_or_that_is_none_is_replaced(tmp_path):
    first = access.lasting_token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    second = access.lasting_token(tmp_path)
    (tmp_path / "token").write_text("short")
    (tmp_path / "token").chmod(0o600)
    assert len({first, second, access.lasting_token(tmp_path)}) == 3


def test_a_home_that_cant_be_written_has_a_token_for_this_start_and_a_word(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    first = access.lasting_token(tmp_path / "file" / "home")
    assert len(first) == 43 and access.lasting_token(tmp_path / "file" / "home") != first
    assert "at the next start" in caplog.text


def test_the_cookie_is_of_one_port_and_does_not_give_the_token_away():
    made = access.Guard(token="x" * 43)
    assert made.cookie(23300) != made.cookie(23301) and "x" * 43 not in made.cookie(23300)
    assert made.cookie(23300) == access.Guard(token="x" * 43).cookie(23300)           # after a restart, too
    assert made.cookie(23300) != access.Guard(token="y" * 43).cookie(23300)


def test_a_browser_without_the_token_is_told_what_to_do_in_both_languages(site):
    site.server.site.guard.peer_user = lambda *ends: None
    status, headers, body = site.ask("GET", "/", headers=[("Accept", "text/html")])
    text = body.decode() if isinstance(body, bytes) else str(body)
    assert status == 401 and headers["content-type"].startswith("text/html") and "set-cookie" not in headers
    assert "runicorn viewer" in text and "查看器" in text and site.token not in text
    assert code(site.ask("GET", "/api/runs", headers=[("Accept", "text/html")])) == (401, "token")


@pytest.mark.parametrize(("path", "host", "status", "english", "chinese"), [
    ("/", "evil.example", 403, "127.0.0.1", "查看器不接受这个主机名"),
    ("/runs/x", "evil.example:80", 403, "localhost", "本机的名称"),
    ("/static/app.js", "evil.example", 403, "127.0.0.1", "主机名"),
    ("/nowhere", None, 404, "There is no such page", "没有这个页面"),
    ("/static/none.css", None, 404, "There is no such page", "没有这个页面")])
def test_a_browser_that_is_refused_gets_a_page_in_both_languages_that_needs_no_other_file(
        site, path, host, status, english, chinese):
    asked = [("Accept", "text/html,*/*"), *([("Host", host)] if host else [])]
    told, headers, body = site.ask("GET", path, headers=asked)
    text = body.decode() if isinstance(body, bytes) else str(body)
    assert told == status and headers["content-type"].startswith("text/html") and english in text
    assert chinese in text
    assert "evil.example" not in text and "<link" not in text and "<script" not in text and "{{" not in text
    assert site.token not in text
    assert "style-src 'sha256-" in headers["content-security-policy"]
    assert "default-src 'self'" in headers["content-security-policy"]
    assert code(site.ask("GET", path, headers=asked[1:]))[0] == status              # a program gets JSON


def test_somebody_elses_browser_gets_a_page_and_nothing_of_ours(site):
    site.server.site.guard.peer_user = lambda *ends: 65534
    status, headers, body = site.ask("GET", "/", headers=[("Accept", "text/html")])
    text = body.decode() if isinstance(body, bytes) else str(body)
    assert status == 403 and "another user of this computer" in text and "另一位用户" in text
    assert site.token not in text
    assert "set-cookie" not in headers
