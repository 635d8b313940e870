"""Attacks on a viewer that listens on a real port, from other sites' pages: foreign hosts and origins,
hostile bodies, paths and names."""

import json
import os
from urllib.parse import quote

import pytest
from catalogs import make_run
from viewers import SECRET, Viewer, code

KEY = "local:vision/resnet50/20250123_180000_abc123"
pytest_plugins = ["attacked"]


# -- other sites' pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example",
        "",
        "127.0.0.1@evil.example",
        "10.0.0.1:{port}",
        "[::ffff:10.0.0.1]",
        "localhost:notaport",
        "local host",
    ],
)
@pytest.mark.parametrize("path", ["/api/runs", "/", "/static/app.js"])
def test_a_foreign_host_is_refused(site, host, path):
    assert code(site.ask("GET", path, headers=[("Host", host.format(port=site.port))])) == (
        403, "foreign_host")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.0.0.2"])
def test_every_name_of_this_machine_is_served(site, host):
    assert site.ask("GET", "/api/runs", headers=[("Host", f"{host}:{site.port}")])[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://evil.example",
               "http://localhost.evil.example", "file://", ""]
)
def test_a_foreign_origin_is_refused(site, origin):
    assert code(site.ask("GET", "/api/runs", headers=[("Origin", origin)])) == (403, "foreign_origin")
    assert code(site.change(Origin=origin or " ")) == (403, "foreign_origin")


def test_our_own_page_and_a_link_from_elsewhere_are_served(site):
    assert site.change(Origin=f"http://127.0.0.1:{site.port}", Sec_Fetch_Site="same-origin")[0] == 200
    assert site.ask("GET", "/", headers=[("Sec-Fetch-Site", "cross-site")])[0] == 200
    for where in ("cross-site", "same-site"):
        assert code(site.ask("GET", "/api/runs", headers=[("Sec-Fetch-Site", where)])) == (
            403, "foreign_origin")


def test_no_answer_allows_another_origin_or_a_frame(site):
    for path in ("/", "/api/runs", "/api/nothing", "/static/app.js"):
        _, headers, _ = site.ask("GET", path)
        assert "access-control-allow-origin" not in headers and headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'self'" in headers["content-security-policy"]
    assert (
        site.ask(
            "OPTIONS", "/api/settings",
            headers=[("Origin", f"http://127.0.0.1:{site.port}"), ("Access-Control-Request-Method", "PATCH")]
        )[0]
        == 405
    )


@pytest.mark.parametrize("token", ["", "wrong", "x" * 5000, "\xff\xfe"])
def test_a_change_without_the_token_is_refused(site, token):
    assert code(site.change(token=token)) == (403, "token")


def test_the_cookie_alone_changes_nothing(site):
    assert code(site.change(token="", Cookie=f"runicorn-{site.port}={site.token}")) == (403, "token")


@pytest.mark.parametrize("kind",
                         ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                          "text/plain", ""])
def test_form_posts_are_refused(site, kind):
    assert code(site.change(Content_Type=kind)) == (415, "content_type")


# -- bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, status, word",
    [
        (b" " * (2 << 20), 413, "too_large"),
        (b'{"preferences":' * 50 + b"1" + b"}" * 50, 400, "body"),
        (b"[" * 200_000, 400, "body"),
        (b'{"a":' * 200_000, 400, "body"),
        (b"\xff\xfe{}", 400, "body"),
        (b"nonsense", 400, "body"),
        (b"[]", 400, "body"),
        (b"12", 400, "body"),
        (b'{"preferences": []}', 400, "usage"),
        (b"", 400, "usage"),
        (b'{"preferences": {"x": 1e9999}}', 200, None),
    ],
)
def test_bodies_that_are_no_small_shallow_objects(site, body, status, word):
    answer = site.change(body=body)
    assert answer[0] == status and json.loads(answer[2]).get("error") == word
    json.loads(answer[2], parse_constant=pytest.fail)


def test_chunked_and_lying_lengths(site):
    assert code(site.change(body=b"2\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked")) == (413, "too_large")
    assert site.change(body=b"{}", Content_Length="-5")[0] in (400, 413)
    assert site.change(body=b"{}", Content_Length="many")[0] in (400, 413)


# -- paths ---------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "name",
    [
        "../meta.json",
        "../../../../../../secret.txt",
        "..%2f..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "/etc/passwd",
        "link.txt",
        "linked/inner.txt",
        "./plain.txt",
        "plain.txt/",
        "a\0b",
        "pipe",
        "",
        ".",
        "..",
        "linked",
        "sub/../plain.txt",
        "..\\..\\secret.txt",
        "plain.txt\0.png",
        "x" * 5000,
        "a/" * 100 + "b",
        "meta.json/../../x",
        "//etc/passwd",
    ],
)
def test_no_path_leaves_the_run(site, traps, name):
    for path in (f"/api/file?run={KEY}&name={quote(name, safe='')}",
                 f"/api/file?run={KEY}&name={quote(quote(name, safe=''), safe='')}"):
        status, _, body = site.ask("GET", path)
        assert status in (400, 404) and SECRET.encode() not in body


def test_what_is_really_there_is_served_and_links_are_not_even_listed(site, traps):
    assert site.ask("GET", f"/api/file?run={KEY}&name=plain.txt")[2] == b"plain"
    listed = {file["name"] for file in json.loads(site.ask("GET", f"/api/files?run={KEY}")[2])["files"]}
    assert "plain.txt" in listed
    assert not listed & {"link.txt", "linked", "linked/inner.txt", "pipe", "events.rank1.jsonl", "logs.2.txt"}


def test_links_that_pose_as_the_runs_own_files_show_nothing(site, traps):
    for path in (
        f"/api/logs?run={KEY}",
        f"/api/logs?run={KEY}&file=logs.2.txt",
        f"/api/logs?run={KEY}&attempt=2",
        f"/api/logs/search?run={KEY}&q=horse&file=logs.2.txt",
        f"/api/series?run={KEY}&metric=val/loss&rank=1",
        f"/api/runs/{KEY}",
        f"/api/export?run={KEY}&format=csv",
    ):
        assert SECRET.encode() not in site.ask("GET", path)[2]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../setup.cfg",
        "/static/%2e%2e/setup.cfg",
        "/static/..%2f..%2fetc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/..",
        "/static/",
        "/api/runs/../../etc",
        "/api/runs/%2e%2e%2f%2e%2e",
        "/api/runs/%ff",
    ],
)
def test_hostile_addresses(site, path):
    status, headers, body = site.ask("GET", path)
    assert (
        status in (400, 404)
        and headers["content-type"].startswith("application/json")
        and b"root:" not in body
        and b"[metadata]" not in body
    )


# -- names ---------------------------------------------------------------------------------------------------


def test_run_and_file_names_inject_no_header_and_no_script(home, tmp_path):
    evil = 'x\r\nSet-Cookie: stolen=1\r\n\r\n<script>alert(1)</script>"'
    folder = make_run(tmp_path / "evil", project=evil, name=evil, tags=[evil], notes=evil)
    (folder / 'a\r\nSet-Cookie: stolen=1\r\n".txt').write_text("x")
    site = Viewer(home, tmp_path / "evil")
    try:
        row = json.loads(site.ask("GET", "/api/runs")[2])["runs"][0]
        key = quote(row["key"], safe="")
        name = quote('a\r\nSet-Cookie: stolen=1\r\n".txt', safe="")
        answers = [
            site.ask("GET", f"/api/runs/{key}"),
            site.ask("GET", f"/runs/{key}"),
            site.ask("GET", f"/api/file?run={key}&name={name}"),
            site.ask("GET", f"/api/export?run={key}&format=csv"),
            site.ask("GET", "/api/runs/" + quote(evil, safe="")),
            site.ask("GET", f"/?token=x&next={name}"),
        ]
        assert [status for status, _, _ in answers[:4]] == [200] * 4
        assert all("stolen" not in headers.get("set-cookie", "") for _, headers, _ in answers)
        assert (
            row["project"] == evil
            and answers[0][1]["content-type"] == "application/json"
            and answers[0][1]["x-content-type-options"] == "nosniff"
        )
        assert b"<script>alert" not in answers[1][2]
    finally:
        site.stop()
