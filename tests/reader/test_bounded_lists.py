"""What a server sends beside its metrics costs the list little: large small files, ranks' statuses, events of
other types."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from catalogs import mirror_of, reader_of
from small_runs import run_folder, write_run

from runicorn.errors import UsageError
from runicorn.reader import quick_stats, records
from runicorn.reader.catalog import Catalog

NESTED = "[" + ",".join(["[]"] * 300_000) + "]"


def bounded_run(root, **files):
    meta = {"id": "20260101_000000_aaaaaa", "project": "p", "name": "n", "created_at": 1.0}
    return run_folder(root, f"p/n/runs/{meta['id']}",
                      {"meta.json": meta, "status.json": {"status": "finished"}, **files})


def grown_by(root):
    """Return the bytes of memory that a process gained that lists and opens the runs of a root, and what it
    listed."""
    code = """
        import json, resource, sys
        import runicorn
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for run in runicorn.runs(root=sys.argv[1]):
            told = {"state": run.state, "metrics": list(run.metrics())}
        print(json.dumps([(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10, told]))
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(root)], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.few("events.jsonl")
@pytest.mark.posix
@pytest.mark.parametrize("name", ["meta.json", "status.json", "summary.json", "events.jsonl"])
def test_no_file_of_a_run_takes_memory_that_its_metrics_do_not(tmp_path, name):
    plain = json.dumps({"status": "finished", "x": 1})[:-1]
    bomb = plain + "".join(f', "x{number}": {NESTED}' for number in range(20)) + "}"
    row = json.dumps({"ts": 1.0, "step": 1, "type": "note"})[:-1] + f', "data": {NESTED}}}\n'
    bounded_run(tmp_path, **{name: row * 20 + '{"ts":1.0,"step":1,"data":{"loss":1}}\n'
                             if name == "events.jsonl" else bomb})
    grown, told = grown_by(tmp_path)
    assert grown < 200 << 20 and (name != "events.jsonl" or told["metrics"] == ["loss"])


def test_ranks_and_statuses_are_kept_as_far_as_they_are_told(tmp_path):
    folder = bounded_run(tmp_path)
    (folder / "status.rank1.json").write_text(
        json.dumps({"status": "failed", "error": "x" * 9000, "more": [[]] * 1000, "exit_code": 3}))
    (folder / "status.rank2.json").write_text(json.dumps({"status": "finished", "x": "y" * 100_000}))
    told = quick_stats.rank_statuses(str(folder))
    assert list(told) == [(1, 1)] and set(told[1, 1]) == {"status", "error", "exit_code"}
    assert len(told[1, 1]["error"]) == quick_stats.MOST
    status = {"status": "failed", "error": "e" * 9000, "deep": [[[]]], "attempts": [{"n": 1, "deep": {}}, 7]}
    kept = records.record_of("p/n/runs/20260101_000000_aaaaaa",
                             {"meta": {"id": "x"}, "status": status, "summary": None}).status
    assert kept == {"status": "failed", "error": "e" * records.KEPT_TEXT, "attempts": [{"n": 1}]}


def events(*steps):
    return "".join(f'{{"ts":{1000 + at}.0,"step":{step},"data":{{"loss":{value}}}}}\n'
                   for at, (step, value) in enumerate(steps))


def test_the_best_counts_no_superseded_point_though_steps_go_back_and_forth(tmp_path):
    folder = bounded_run(tmp_path, **{"events.jsonl": events((1, 9.0), (7, 0.1), (2, 5.0), (8, 0.2)),
                                     "events.2.jsonl": events((9, 3.0), (6, 2.0))})
    spark = quick_stats.spark(str(folder), quick_stats.own_sizes(str(folder)), "loss")
    assert spark.low == (2.0, 6) and spark.high == (9.0, 1) and spark.values == [9.0, 5.0, 3.0, 2.0]


@pytest.mark.parametrize("before", [0, 3, 5000])
def test_a_last_row_without_its_newline_has_the_last_step(tmp_path, before):
    text = events(*((step, 1.0) for step in range(before + 1)))[:-1]
    folder = bounded_run(tmp_path, **{"events.jsonl": text})
    sizes, tops = quick_stats.own_sizes(str(folder)), {}
    assert quick_stats.end(str(folder), sizes, tops).step == before
    with open(folder / "events.jsonl", "a") as file:
        file.write("\n" + events((before + 1, 2.0)))
    assert quick_stats.end(str(folder), quick_stats.own_sizes(str(folder)), tops).step == before + 1
    assert os.path.getsize(folder / "events.jsonl") == tops["events.jsonl"].position


@pytest.mark.long
def test_tags_and_experiments_of_the_sidebar_are_bounded_and_counted(tmp_path):
    for number in range(520):
        tags = ["all", f"tag{number:03}", f"more{number:03}"]
        write_run(tmp_path, "p", f"name{number:03}", f"20260101_{number:06}_aaaaaa", rows=0, tags=tags)
    reader = catalog_of(tmp_path)
    tree = reader.facets(reader.view()).tree()
    assert tree["tags"][0] == {"tag": "all", "count": 520} and len(tree["tags"]) == 500
    assert tree["more"]["tags"] == 541
    (project,) = tree["projects"]
    assert (project["count"], len(project["names"]), project["more"]) == (520, 500, 20)
    # what is not named is found all the same
    assert len(reader.runs("tag:more519", limit=None)["runs"]) == 1
    facets = reader.facets(reader.view())
    assert [one["slug"] for one in facets.part("names", "p", offset=500)["items"]] == [
        f"name{number}" for number in range(500, 520)]
    assert facets.part("tags", find="ALL")["items"] == [{"tag": "all", "count": 520}]


def test_projects_and_groups_are_bounded_and_counted(tmp_path):
    for number in range(640):
        name = "n" * 200 + str(number)
        write_run(tmp_path, f"project{number}", name, f"20260101_{number:06}_aaaaaa", rows=0,
                  user=f"user{number}", group=name)
    for number in range(30):
        write_run(tmp_path, "project639", f"name{number}", f"20260102_{number:06}_aaaaaa", rows=0, user="all")
    reader = catalog_of(tmp_path)
    tree = reader.facets(reader.view()).tree()
    named = [one["slug"] for one in tree["projects"]]
    assert named == [*(f"project{number}" for number in range(299)), "project639"]
    assert tree["more"]["projects"] == 340
    assert tree["projects"][-1]["count"] == 31 and len(json.dumps(tree)) < 200_000
    assert all(one["names"] and len(one["names"]) + one["more"] == (31 if one["slug"] == "project639" else 1)
               for one in tree["projects"])
    facets = reader.facets(reader.view())
    page = facets.part("projects", find="project600")
    assert (page["total"], page["matched"], page["items"][0]["count"]) == (640, 1, 1)
    for field, every in (("user", 641), ("group", 641), ("project", 640)):
        answer = reader.runs(group=field, limit=5)
        assert len(json.dumps(answer["groups"])) < 80_000 and len(
            answer["groups"]) + answer["more_groups"] == every, field
    with pytest.raises(UsageError, match="it counts projects"):
        facets.part("users")


@pytest.mark.long
def test_connections_of_the_sidebar_are_bounded_and_counted(tmp_path):
    write_run(tmp_path / "far", "p", "n", "20260101_000000_aaaaaa", rows=0)
    for number in range(310):
        mirror_of(tmp_path / "far", tmp_path / f"m{number}")
    reader = reader_of(mirrors=[(f"gpu{number}", tmp_path / f"m{number}") for number in range(310)])
    tree = reader.facets(reader.view()).tree()
    assert (len(tree["connections"]), tree["more"]["connections"]) == (300, 10)
    assert reader.facets(reader.view()).part("connections", find="gpu309")["items"] == [
        {"slug": "gpu309", "name": "gpu309", "count": 1}]


def catalog_of(root):
    reader = Catalog([("local", root)], home=root / "home")
    reader.refresh()
    return reader
