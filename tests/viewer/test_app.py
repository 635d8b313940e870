"""The viewer's API and pages, called as a WSGI application under wsgiref.validate, on real files."""

import json
import os
import re
import threading
import time
from urllib.parse import quote

import pytest
from catalogs import make_run
from clients import Client

from runicorn import assets, layout
from runicorn.connections.registry import Registry
from runicorn.errors import UsageError
from runicorn.news import Bell
from runicorn.viewer import app as viewer
from runicorn.viewer import routes_connections
from runicorn.viewer.routes import ROUTES

KEY = "local:vision/resnet50/20250123_180000_abc123"


@pytest.fixture
def root(tmp_path):
    make_run(tmp_path / "root",
             events=[{"train/loss": 1 / (n + 1), "val/loss": 2 / (n + 1)} for n in range(50)])
    return tmp_path / "root"


@pytest.fixture
def mirrors(home):
    made = Registry(home, Bell(), offline=True)
    yield made
    made.stop()


@pytest.fixture
def server(root, home, mirrors):
    made = viewer.start(home, [("local", root)], mirrors, Bell(), port=0, offline=True)
    made.catalog.ready.wait(5)
    yield made
    made.stop()


@pytest.fixture
def call(server):
    return Client(server, viewer.make_app(server.site))


# -- runs ----------------------------------------------------------------------------------------------------


def test_the_run_list(call):
    answer = call.get("/api/runs", spark=1, column=["config.lr", "summary.val/loss"],
                      filter="loss<0.3 resnet", limit=10)
    (row,) = answer["runs"]
    assert row["key"] == KEY and row["values"] == {"config.lr": 0.001, "summary.val/loss": 0.25}
    assert len(row["spark"]) == 24
    assert (
        answer["columns"]["metrics"] == ["train/loss", "val/loss"]
        and answer["tree"]["states"] == {"finished": 1} and "." in answer["news"]
    )
    assert call.get("/api/runs", columns="config.lr,summary.val/loss")["runs"][0]["values"] == row["values"]
    assert call.get("/api/runs", project="nothing")["matched"] == 0


@pytest.mark.parametrize(
    "query, code, at",
    [
        ({"filter": 'resnet tag:"x'}, "filter", 11),
        ({"filter": "loss<x"}, "filter", 0),
        ({"sort": "colour"}, "usage", None),
        ({"offset": "minus"}, "usage", None),
    ],
)
def test_a_bad_question_is_told_so(call, query, code, at):
    reply = call("GET", "/api/runs", **query)
    assert reply.status == 400 and reply.json["error"] == code and reply.json["message"]
    assert reply.json.get("at") == at


def test_one_run_by_key_by_id_and_ambiguous(call, root):
    assert call.get(f"/api/runs/{KEY}")["key"] == call.get("/api/runs/abc123")["key"] == KEY
    make_run(root, name="twin", run_id="20250124_180000_abc123", created_at=2.0)
    call.server.catalog.sources["local"].refresh(1e9)
    call.server.catalog._merge()
    reply = call("GET", "/api/runs/abc123")
    assert reply.status == 409 and reply.json["error"] == "ambiguous" and len(reply.json["candidates"]) == 2
    assert call("GET", "/api/runs/nothing").status == 404


@pytest.mark.posix
def test_a_run_whose_folder_has_newlines_in_its_name_has_a_page(call, root, server):
    for name in ("two\nlines", "ends\n"):
        (root / "sweep" / name).mkdir(parents=True)
        (root / "sweep" / name / "metrics.csv").write_text(
            "step,loss\n" + "".join(f"{step},0.5\n" for step in range(9)))
        server.catalog.sources["local"].forget_kinds()
        server.catalog.refresh()
        answer = call.get(f"/api/runs/local:sweep/{name}")
        assert answer["key"] == f"local:sweep/{name}" and answer["kinds"] == ["csv"]


def test_several_runs_come_a_line_each_and_one_that_is_refused_costs_no_other(call):
    reply = call("GET", "/api/details", run=["nothing", "abc123", "abc123"])
    refused, told = map(json.loads, reply.plain.splitlines())
    assert refused["asked"] == "nothing" and refused["refused"]["error"] == "not_found"
    alone = call.get(f"/api/runs/{KEY}")
    assert told["asked"] == "abc123" and told["run"]["key"] == KEY
    assert told["run"]["metrics"] == alone["metrics"] and len(told["run"]["spark"]) == 24
    assert "metrics_left" not in alone
    assert call("GET", "/api/details").status == 400


def test_own_tags_note_and_hidden(call):
    row = call("PATCH", f"/api/runs/{KEY}",
               {"tags": ["mine"], "note": "good <b>one</b>", "hidden": True}).json
    assert (row["tags"], row["note"], row["hidden"]) == (["mine"], "good <b>one</b>", True)
    assert call.get("/api/runs")["matched"] == 0
    assert call.get("/api/runs", hidden=1, filter="tag:mine")["matched"] == 1
    assert call("PATCH", f"/api/runs/{KEY}", {"hidden": False, "note": None}).json["note"] == ""
    for wrong in ({}, {"tags": "x"}, {"name": "x"}, {"hidden": "no"}):
        assert call("PATCH", f"/api/runs/{KEY}", wrong).status == 400


def test_a_local_run_is_never_deleted(call, root):
    assert call("DELETE", f"/api/runs/{KEY}", {}).status == 400
    assert (root / "vision/resnet50/runs/20250123_180000_abc123/meta.json").is_file()


# -- curves, logs, system ------------------------------------------------------------------------------------


def test_curves_of_several_metrics(call):
    found = call.get("/api/series", run=KEY, metric=["train/loss", "val/loss", "absent"],
                     buckets=100)["series"]
    assert [(one["metric"], one["exact"], one["n"], one["m"]) for one in found] == [
        ("train/loss", True, 50, 50),
        ("val/loss", True, 50, 50),
    ]
    assert found[0]["x"] == list(range(50)) and found[0]["last"][:2] == [1.0, 0.5]
    (zoomed,) = call.get("/api/series", runs=KEY, metrics="train/loss", **{"from": 10, "to": 20})["series"]
    assert zoomed["x"] == list(range(10, 21))
    (bucketed,) = call.get("/api/series", run="abc123", metric="train/loss", buckets=5, smooth=0.9)["series"]
    assert not bucketed["exact"] and max(bucketed["max"]) == 1.0 and len(bucketed["smooth"]) == bucketed["n"]
    assert call("GET", "/api/series", run=KEY).status == 400
    assert call("GET", "/api/series", run="none", metric="x").status == 404
    assert call("GET", "/api/series", run=KEY, metric="train/loss", x="sideways").status == 400


def test_curves_are_encoded_once_and_again_when_the_run_grew(call, root):
    def ask(coding="gzip, deflate, br", **query):
        return call("GET", "/api/series", gzipped=coding, run=KEY, metric=["train/loss", "val/loss"], **query)

    packed, plain, gzipped = ask(), ask("identity"), ask("gzip")
    assert [one.headers.get("content-encoding") for one in (packed, plain)] == ["deflate", None]
    assert packed.json["series"] == plain.json["series"] == gzipped.json["series"]
    assert len(packed.json["series"]) == 2
    kept = call.server.catalog.series(KEY)._encoded[1]
    before = dict(kept)
    assert ask().json["series"] == packed.json["series"]
    assert all(kept[asked] is before[asked] for asked in before)
    assert ask(buckets=5).json["series"][0]["n"] <= 5
    assert ask(x="wall").json["series"] != packed.json["series"]
    with open(root / "vision/resnet50/runs/20250123_180000_abc123/events.jsonl", "a") as file:
        file.write('{"ts":1737655300.0,"step":60,"data":{"train/loss":7.5}}\n')
    assert ask().json["series"][0]["last"][-1] == 7.5 and ask(coding="identity").json["series"][0]["m"] == 51


def test_numbers_that_json_lacks_are_marked(call, root):
    with open(root / "vision/resnet50/runs/20250123_180000_abc123/events.jsonl", "a") as file:
        file.write(
            '{"ts":1737655300.0,"step":60,"data":{"train/loss":"NaN"}}\n'
            '{"ts":1737655301.0,"step":61,"data":{"train/loss":"-Infinity"}}\n'
        )
    (one,) = call.get("/api/series", run=KEY, metric="train/loss")["series"]
    assert one["nan"] == [[60, "NaN"], [61, "-Infinity"]]


def test_the_log_by_pages_search_and_step(call, root):
    folder = root / "vision/resnet50/runs/20250123_180000_abc123"
    stamp = layout.stamp
    (folder / "logs.txt").write_text(
        "".join(f"{stamp(1737655200 + n)}line {n} \x1b[31mred\x1b[0m\n" for n in range(2000)))
    page = call.get("/api/logs", run=KEY, limit=4096)
    assert page["lines"][-1]["text"].startswith("line 1999") and page["size"] == page["end"]
    assert page["files"][0]["name"] == "logs.txt"
    assert call.get("/api/logs", run=KEY, limit=200, **{"from": 0})["lines"][0]["text"].startswith("line 0")
    assert call.get("/api/logs", run=KEY, limit=4096, before=page["start"])["end"] == page["start"]
    assert page["lines"][-1]["step"] == 49
    found = [json.loads(line)
             for line in call("GET", "/api/logs/search", run=KEY, q="line 19").plain.splitlines()]
    assert found[-1] == {"done": True, "hits": 100, "here": page["size"], "size": page["size"]}
    assert sum("at" in item for item in found) == 100
    regex = [json.loads(line)
             for line in call("GET", "/api/logs/search", run=KEY, q="line 1[0-3]$|line 1234 ",
                              regex=1).plain.splitlines()]
    assert regex[-1]["hits"] >= 1
    at = call.get("/api/logs/at", run=KEY, step=20)["at"]
    assert call.get("/api/logs", run=KEY, limit=100, **{"from": at})["lines"][0]["text"].startswith("line 20")
    for query in ({"file": "../meta.json"}, {"file": "meta.json"}):
        assert call("GET", "/api/logs", run=KEY, **query).status == 400
    assert call("GET", "/api/logs/search", run=KEY, q="(", regex=1).status == 400
    assert call("GET", "/api/logs/search", run=KEY).status == 400


def test_a_step_is_looked_for_in_the_log_of_whoever_wrote_it(call, root):
    folder = root / "vision/resnet50/runs/20250123_180000_abc123"
    for name, start, pace in (("", 1737655200, 1), (".2", 1737656200, 1), (".rank1", 1737655200, 10),
                              (".rank2", 1737655200, 1)):
        lines = [f"{layout.stamp(start + n * pace)}line {n} of{name}\n" for n in range(100)]
        (folder / f"logs{name}.txt").write_text("".join(lines))
        if name != ".rank2":            # which printed, and logged no metric
            rows = [layout.to_json({"ts": float(start + n * pace), "step": n, "data": {"loss": 1.0}})
                    for n in range(100)]
            (folder / f"events{name}.jsonl").write_text("\n".join(rows) + "\n")

    def line_at(**which):
        at = call.get("/api/logs/at", run=KEY, step=20, **which)["at"]
        page = call.get("/api/logs", run=KEY, limit=60, **{"from": at}, **which)
        return page["lines"][0]["text"].strip(), page["lines"][0]["step"]
    assert line_at() == ("line 20 of.2", 20)
    assert line_at(attempt=1) == line_at(file="logs.txt") == ("line 20 of", 20)
    assert line_at(rank=1) == line_at(file="logs.rank1.txt") == ("line 20 of.rank1", 20)
    assert call.get("/api/logs", run=KEY, rank=2, limit=60, **{"from": 0})["lines"][0]["step"] == 0


def test_the_machine_under_a_run(call, root):
    with open(root / "vision/resnet50/runs/20250123_180000_abc123/system.jsonl", "w") as file:
        for n in range(10):
            file.write(
                layout.to_json(
                    {"ts": 1737655200.0 + n, "cpu": n, "mem": [1e9, 8e9],
                     "gpu": [{"i": 0, "name": "RTX", "util": 90, "mem": [1e9, 2e9]}]}
                )
                + "\n"
            )
    found = call.get("/api/system", run=KEY)
    assert found["now"]["cpu"] == 9
    assert {one["metric"] for one in found["series"]} >= {"cpu", "mem", "gpu0.util"}


# -- files ---------------------------------------------------------------------------------------------------


def test_what_is_not_among_a_runs_files_is_counted(call, root):
    assert call.get("/api/files", run=KEY)["passed"] == {}
    folder = root / "vision/resnet50/runs/20250123_180000_abc123"
    (folder / "link.pt").symlink_to("/etc/passwd")
    with open(os.fsencode(folder) + b"/caf\xe9", "wb"):
        pass
    os.mkfifo(folder / "pipe")
    assert call.get("/api/files", run=KEY)["passed"] == {
        "links in runs": 1, "names that are no UTF-8": 1, "outside": 1}


def test_files_are_told_in_slices_with_the_images_of_all(call, root):
    folder = root / "vision/resnet50/runs/20250123_180000_abc123"
    for number in range(20):
        (folder / f"a{number:02}.txt").write_text("x")
        (folder / f"z{number:02}.PNG").write_text("x")
    whole = call.get("/api/files", run=KEY)
    names = [file["name"] for file in whole["files"]]
    assert whole["total"] == len(names) >= 43 and whole["offset"] == 0 and "images" not in whole
    part = call.get("/api/files", run=KEY, offset=5, limit=10, images=15)
    assert [file["name"] for file in part["files"]] == names[5:15] and part["offset"] == 5
    assert part["total"] == len(names)
    assert part["images"] == [f"z{number:02}.PNG" for number in range(15)] and part["more_images"] == 5
    assert call.get("/api/files", run=KEY, offset=1000, limit=10)["files"] == []


def test_files_are_listed_and_served(call, root):
    folder = root / "vision/resnet50/runs/20250123_180000_abc123"
    (folder / "media").mkdir()
    (folder / "media/1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "模型.pt").write_bytes(b"x" * (2 << 20))
    (folder / "page.html").write_text("<script>alert(1)</script>")
    kinds = {file["name"]: file["kind"] for file in call.get("/api/files", run=KEY)["files"]}
    assert (
        kinds["media/1.png"] == "media" and kinds["模型.pt"] == "large" and kinds["events.jsonl"] == "own"
        and kinds["page.html"] == "small"
    )
    image = call("GET", "/api/file", run=KEY, name="media/1.png")
    assert (
        image.headers["content-type"] == "image/png"
        and image.headers["content-disposition"].startswith("inline")
        and "sandbox" in image.headers["content-security-policy"]
    )
    model = call("GET", "/api/file", run=KEY, name="模型.pt")
    assert len(model.body) == 2 << 20 and quote("模型.pt") in model.headers["content-disposition"]
    page = call("GET", "/api/file", run=KEY, name="page.html")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "form, kind, start",
    [("csv", "text/csv", b"step,ts,train/loss,val/loss\r\n0,"), ("html", "text/html", b"<!"),
     ("tensorboard", "application/zip", b"PK")],
)
def test_a_run_is_exported(call, form, kind, start):
    reply = call("GET", "/api/export", run=KEY, format=form)
    assert (
        reply.status == 200
        and reply.headers["content-type"].startswith(kind)
        and reply.body.lower().replace(b"\r", b"").startswith(start.lower().replace(b"\r", b""))
    )
    assert "20250123_180000_abc123." in reply.headers["content-disposition"]
    assert (
        call("GET", "/api/export", run=KEY, format="docx").json["error"] == "format"
        and call("GET", "/api/export", run="none").status == 404
    )


# -- news ----------------------------------------------------------------------------------------------------


def test_news_waits_and_wakes(call):
    bell, first = call.server.site.bell, call.get("/api/news", since="other.1", topic="runs")
    assert first["reset"] and first["topics"] == ["runs"]
    started = time.monotonic()
    threading.Timer(0.2, bell.ring, [f"run:{KEY}"]).start()
    heard = call.get("/api/news", since=first["news"], topics=f"connections,run:{KEY}", timeout=5)
    assert heard["topics"] == [f"run:{KEY}"] and time.monotonic() - started < 4
    assert call.get("/api/news", since=heard["news"], topic="runs", timeout=0)["topics"] == []


def test_head_never_waits(call):
    mark = call.get("/api/runs")["news"]
    started = time.monotonic()
    reply = call("HEAD", "/api/news", since=mark, topic="nothing", timeout=25)
    assert reply.status == 200 and reply.body == b"" and time.monotonic() - started < 5
    assert call("HEAD", "/").status == 200


def test_every_changing_answer_carries_news_taken_before_its_data(call, root):
    mark = call.get("/api/runs")["news"]
    call("PATCH", f"/api/runs/{KEY}", {"note": "x"})
    assert call.get("/api/news", since=mark, topic=["runs", f"run:{KEY}"], timeout=0)["topics"] == [
        f"run:{KEY}", "runs"]
    for path, query in (
        ("/api/runs", {}),
        (f"/api/runs/{KEY}", {}),
        ("/api/series", {"run": KEY, "metric": "train/loss"}),
        ("/api/connections", {}),
        ("/api/settings", {}),
        ("/api/files", {"run": KEY}),
        ("/api/system", {"run": KEY}),
    ):
        assert call.get(path, **query)["news"].startswith(mark.partition(".")[0])


# -- settings and connections --------------------------------------------------------------------------------


def test_settings_are_merged_and_kept(call):
    assert call.get("/api/settings")["preferences"]["language"] == "auto"
    call("PATCH", "/api/settings", {"preferences": {"language": "zh", "main_metric": {"vision": "val/loss"}}})
    kept = call(
        "PATCH",
        "/api/settings",
        {"preferences": {"main_metric": {"nlp": "ppl"}, "views": [{"name": "a", "query": "b"}],
                         "runs": {"width": 3}}},
    ).json["preferences"]
    assert (
        kept["main_metric"] == {"vision": "val/loss", "nlp": "ppl"}
        and kept["language"] == "zh"
        and kept["views"] == [{"name": "a", "query": "b"}]
    )
    assert call.get("/api/settings")["preferences"] == kept
    assert call("PATCH", "/api/settings", {}).status == 400


def test_connections_are_saved_listed_and_removed_without_their_secrets(call, home):
    reply = call(
        "POST",
        "/api/connections",
        {
            "name": "GPU Server 1",
            "host": "gpu-server.example.com",
            "user": "alice",
            "auth": "password",
            "password": "hunter2",
            "start": False,
        },
    )
    assert reply.status == 200 and reply.json["slug"] == "gpu-server-1"
    assert "hunter2" not in reply.plain.decode()
    rows = call.get("/api/connections")
    assert rows["offline"] and [row["name"] for row in rows["connections"]] == ["GPU Server 1"]
    assert "hunter2" not in json.dumps(rows)
    assert call("POST", "/api/connections/GPU Server 1/pause", {}).status == 200
    assert call("POST", "/api/connections/nothing/pause", {}).status == 404
    assert call("POST", "/api/connections", {"name": "x"}).status == 400
    assert call("DELETE", "/api/connections/GPU Server 1", {}).status == 200
    assert call.get("/api/connections")["connections"] == []
    assert all("hunter2" not in path.read_text(errors="replace")
               for path in home.rglob("*") if path.is_file())


def test_unknown_tests_and_questions(call):
    assert call("GET", "/api/connections/test/none").status == 404
    for route in ("answer", "trust"):
        assert call("POST", f"/api/connections/{route}", {}).status == 400
        assert call("POST", f"/api/connections/{route}", {"question": "none", "answer": "x"}).status in (
            400, 404)
    assert call("POST", "/api/cache/clean", {"older_than": "x"}).status == 400
    assert call("POST", "/api/cache/clean", {"older_than": 30, "dry_run": True}).status == 200


# -- pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", f"/runs/{KEY}", "/compare", "/settings"])
def test_every_page_is_the_index_with_the_token_and_the_cookie(call, path):
    page = call("GET", path)
    assert page.status == 200 and call.server.token in page.plain.decode() and "{{" not in page.plain.decode()
    cookie = page.headers["set-cookie"]
    value = call.server.site.guard.cookie(call.server.port)
    assert cookie.startswith(f"runicorn-{call.server.port}={value}") and "SameSite=strict" in cookie
    assert "HttpOnly" in cookie
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_static_files_are_zipped_and_not_sent_twice(call):
    plain, packed = call("GET", "/static/app.js"), call("GET", "/static/app.js", gzipped=True)
    assert (
        plain.headers["content-type"].startswith("text/javascript")
        and packed.headers["content-encoding"] == "gzip"
        and packed.plain == plain.body
    )
    assert call("GET", "/static/app.js", headers={"HTTP_IF_NONE_MATCH": packed.headers["etag"]}).status == 304
    for name in ("nothing.js", "../runicorn/viewer/app.py", "..%2fsetup.cfg", "/etc/passwd"):
        assert call("GET", f"/static/{name}").status == 404


def test_a_page_names_files_that_a_browser_may_keep_until_one_changes(call, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "_PLACES", (str(tmp_path), *assets._PLACES))
    def named():
        return re.search(r'"(/static/[0-9a-f]{8}/)app.js"', call("GET", "/").plain.decode())[1]
    before = named()
    assert "immutable" in call("GET", f"{before}shared/words.js").headers["cache-control"]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "words.js").write_text("// another")
    after = named()
    assert after != before
    assert (call("GET", f"{after}shared/words.js").body == call("GET", f"{before}shared/words.js").body
            == b"// another")
    assert "immutable" in call("GET", f"{after}shared/words.js").headers["cache-control"]
    assert all(call("GET", f"{path}shared/words.js").headers["cache-control"] == "no-cache"
               for path in (before, "/static/"))


def test_json_is_zipped_when_that_pays(call):
    assert call("GET", "/api", gzipped=True).headers["content-encoding"] == "gzip"
    assert ("content-encoding" not in call("GET", "/api/settings", gzipped=True).headers
            or len(call("GET", "/api/settings").body) >= 1024)


def test_all_routes_are_listed(call):
    routes = call.get("/api")["routes"]
    assert (
        len(routes) == len(ROUTES)
        and all(one["about"] for one in routes)
        and {"GET /api/runs", "PATCH /api/runs/{key}", "POST /api/connections/{name}/{order}"}
        <= {f"{one['method']} {one['path']}" for one in routes}
    )


def test_what_is_not_there(call):
    reply = call("GET", "/api/nothing")
    assert reply.status == 404 and reply.json["error"] == "not_found"
    assert call("POST", "/api/runs", {}).status == 405


def test_the_banner_is_the_guides_box():
    assert viewer.banner("http://127.0.0.1:23300", "0.4.0").splitlines() == [
        "╭──────────────────────────────────────────────────────────╮",
        "│ Runicorn Viewer                                          │",
        "│ Version: 0.4.0                                           │",
        "│ URL: http://127.0.0.1:23300                              │",
        "│                                                          │",
        "│ Press Ctrl+C to stop                                     │",
        "╰──────────────────────────────────────────────────────────╯",
    ]
    assert viewer.banner("http://127.0.0.1:23300", unicode=False).isascii()


NUMBERS = ["inf", "-inf", "nan", "1e999", "9" * 5000, "-" + "9" * 400, "x", "1_0", "\u0663", "1e308", "0x10",
           "--1", "1.5.2"]
PLACES = [("/api/series", {"run": KEY, "metric": "train/loss"},
           ("rank", "ranks", "from", "to", "buckets", "smooth")),
          ("/api/moment", {"run": KEY, "metric": "train/loss", "at": "1"}, ("at", "rank")),
          ("/api/system", {"run": KEY}, ("from", "to", "buckets")),
          ("/api/logs", {"run": KEY}, ("from", "before", "limit", "rank", "attempt")),
          ("/api/logs/at", {"run": KEY}, ("ts", "step", "rank", "attempt")),
          ("/api/logs/search", {"run": KEY, "q": "x"}, ("from", "limit", "rank", "attempt")),
          ("/api/runs", {}, ("offset", "limit")), ("/api/news", {"timeout": "0"}, ("timeout",))]


@pytest.mark.few(30)
@pytest.mark.parametrize("path, query, names", PLACES, ids=[path for path, _, _ in PLACES])
@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: value[:8])
def test_a_number_that_is_none_is_the_asker_s_mistake(call, path, query, names, value):
    answers = {name: call("GET", path, **{**query, name: value}).status for name in names}
    assert set(answers.values()) <= {200, 400, 404}, answers


def test_half_an_emoji_and_what_has_another_type_cost_no_answer(call):
    assert call("PATCH", f"/api/runs/{KEY}", {"note": "\ud83d"}).status == 200
    assert call("GET", "/api/runs").status == 200
    assert call("POST", "/api/connections", {"host": "h", "name": "\ud83d", "start": False}).status == 400
    assert call("GET", "/api/connections").status == 200
    with pytest.raises(UsageError, match="name"):        # what a test, a browse and a plan are meant for
        routes_connections._meant({"name": 5})
    assert [call("POST", "/api/connections", {"host": "h", "password": secret}).status
            for secret in (5, ["a"])] == [400] * 2
    boot = call.get("/api/news", timeout=0)["news"].split(".")[0]
    assert call.get("/api/news", since=f"{boot}.{'9' * 5000}", topic="runs", timeout=0)["reset"] is True


@pytest.mark.parametrize("place", ["reading", "writing"])
def test_no_memory_for_an_answer_is_said_and_costs_that_answer_alone(
        server, call, monkeypatch, caplog, place):
    written = layout.to_json

    def full(value, *args):
        if isinstance(value, dict) and "runs" in value:
            raise MemoryError
        return written(value, *args)
    with monkeypatch.context() as short:
        if place == "writing":
            short.setattr(layout, "to_json", full)
        else:
            short.setattr(server.site.catalog, "run", lambda key, most: full({"runs": []}))
        refused = call("GET", "/api/runs" if place == "writing" else f"/api/runs/{KEY}")
    assert (refused.status, refused.json["error"]) == (503, "short") and not caplog.records
    assert call("GET", "/api/runs").status == 200
