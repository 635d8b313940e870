"""What a first sync costs, counted: parses of the list, looks at the disk, files opened. Seconds belong to
benchmarks/."""

import json
import os
import re
import time
from collections import Counter
from hashlib import sha256

import pytest
from far import Far
from pairs import OLD, RUN, live, make_run, mirror, pair, root, write  # noqa: F401 (fixtures)

from runicorn import layout, manifest
from runicorn.mirror import local_copy, remote_index, room, verified, walk
from runicorn.mirror.copies import Copies
from runicorn.mirror.fetch_queue import FetchQueue
from runicorn.mirror.remote_root import RemoteRoot
from runicorn.mirror.second_line import SecondLine
from runicorn.ssh import sftp

RUNS = 30


def many_runs(root):
    for number in range(RUNS):
        make_run(root, f"vision/resnet50/runs/20250123_1800{number:02}_abc123")


def counted(monkeypatch, owner, name):
    """Have calls of `owner.name` counted in the list that is returned."""
    calls, plain = [], getattr(owner, name)

    def counting(*args, **options):
        calls.append(args)
        return plain(*args, **options)
    monkeypatch.setattr(owner, name, counting)
    return calls


def test_files_that_are_as_a_manifest_says_need_no_second_parse_of_it(root, pair, monkeypatch):
    many_runs(root)
    manifest.generate(str(root))
    parsed = counted(monkeypatch, manifest.Manifest, "mended")
    looked = counted(monkeypatch, room.shutil, "disk_usage")
    opened = counted(monkeypatch, layout, "open_regular")
    one = pair(manifest=True)
    one.passes()
    one.same()
    assert one.sync.state()["source"] == "manifest"
    assert RUNS <= len(parsed) <= 3 * RUNS, "five files of each come"
    assert 1 <= len(looked) < RUNS
    assert len(opened) < RUNS, "what was kept in memory is not read from the disk again to be compared"



def test_small_files_that_a_manifest_tells_come_by_an_lstat_alone(root, pair, monkeypatch):
    many_runs(root)
    above = root / "vision/resnet50/runs"
    fresh = above / "20250123_180009_abc123/summary.json"
    write(fresh, '{"a": 1}')                # as young as the manifest: how clocks differ is not known
    manifest.generate(str(root))
    edited = [above / "20250123_180003_abc123/summary.json", above / "20250123_180004_abc123/status.json",
              above / "20250123_180005_abc123/meta.json"]
    same_size, longer, gone = edited
    before = same_size.stat()
    same_size.write_bytes(same_size.read_bytes().replace(b"1", b"2").replace(b"0", b"7"))
    os.utime(same_size, (before.st_mtime + 1, before.st_mtime + 1))
    longer.write_bytes(longer.read_bytes() + b" \n")
    os.utime(longer, (OLD, OLD))
    gone.unlink()
    asked, ask = [], sftp.Sftp.ask
    monkeypatch.setattr(sftp.Sftp, "ask",
                        lambda session, request, done: (asked.append((request.kind, request.about)),
                                                        ask(session, request, done))[1])
    one = pair(manifest=True)
    one.passes()
    one.passes(5)
    one.passes(5)
    one.same()
    opened = Counter(path for kind, path in asked
                     if kind == sftp.OPEN and path.endswith(".json") and "/runs/" in path)
    looked = Counter(path for kind, path in asked if kind == sftp.LSTAT and path.endswith(".json"))
    assert set(opened) == {str(fresh), str(same_size), str(longer)}
    assert (len([path for path in looked if path.endswith(("meta.json", "status.json", "summary.json"))])
            >= 3 * RUNS - 1)
    assert sum(kind == sftp.OPEN for kind, _ in asked) >= RUNS, "logs are read"


def test_a_manifest_without_proof_tells_no_bytes(root, pair, monkeypatch):
    """Older server copies looked at no file but those of runs whose folders changed."""
    many_runs(root)
    manifest.generate(str(root))
    place = root / ".runicorn/full_manifest.json"
    text, count = re.subn(r'"stamp": "[0-9a-f]{16}", "changed": [0-9.]+, ', "", place.read_text())
    place.write_text(text)
    asked, ask = [], sftp.Sftp.ask
    monkeypatch.setattr(sftp.Sftp, "ask",
                        lambda session, request, done: (asked.append((request.kind, request.about)),
                                                        ask(session, request, done))[1])
    one = pair(manifest=True)
    one.passes()
    one.same()
    assert count == RUNS
    assert len([path for kind, path in asked if kind == sftp.OPEN and path.endswith("meta.json")]) >= RUNS


def test_a_second_sync_by_sftp_alone_lists_the_ended_runs_in_one_go_with_the_others(root, pair, monkeypatch):
    many_runs(root)
    one = pair(manifest=False)
    one.passes()
    one.same()
    one.sync.stop()
    one.sync.run()
    log = root / "vision/resnet50/runs/20250123_180007_abc123/events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"0.5", b"0.7"))
    monkeypatch.setattr("runicorn.mirror.remote_root.LISTED", 5)
    listed = counted(monkeypatch, walk, "list_runs")
    again = pair(manifest=False)
    again.passes()
    again.same()
    assert [len(paths) for _, _, paths, *_ in listed if paths] == [RUNS]
    assert not again.sync._remote_root.looking


def test_the_index_knows_what_it_says_of_small_files_without_parsing_all(root, monkeypatch):
    path = "vision/resnet50/runs/20250123_180000_abc123"
    run = make_run(root, path)
    write(run / "meta.json",
          {"id": "x", "notes": "学习 – \"quoted\"",
           "config": {"status": {"status": "failed"}, "summary": {}}}, OLD)
    write(run / "status.json", b'{\n "status": "finished",\r\n "loss": [1, 2]\n}\n', OLD)
    index = remote_index.RemoteIndex(manifest.build(str(root)))
    parsed = counted(monkeypatch, manifest.Manifest, "mended")
    texts = {field: manifest.on_one_line((run / f"{field}.json").read_bytes())
             for field in remote_index.FIELDS}
    assert len(texts) == 3 and all(index.says(path, field, text) for field, text in texts.items())
    assert not index.says(path, "status", b'{"status": "failed"}'), "that one stands in its config"
    assert not index.says(path, "summary", texts["status"]) and not parsed
    index.put(path, {**index.entry(path), "status": {"status": "failed"}},
              {"status": b'{"status": "failed"}'})
    assert not index.says(path, "status", texts["status"])
    index.flush()
    assert index.says(path, "status", b'{"status": "failed"}')


def test_a_line_laid_out_by_others_says_nothing():
    torn = (b'{"digest": "%s", "mtime": 1.0, "ended": true, "count": 0, "bytes": 0, "beat": null, "meta": {'
            % (b"0" * 64))
    for line in (b"", b"{}", b'{"meta": {}}', b"[", torn):
        index = remote_index.RemoteIndex(manifest.Manifest({"digest": ""}, {"p/n/runs/r": line}))
        assert not index.says("p/n/runs/r", "meta", b"{}")


def test_the_version_of_a_run_moves_with_its_files_and_not_with_its_small_ones():
    path, file = "p/n/runs/r", {"size": 1, "mtime": 1.0, "tail": None}
    index = remote_index.RemoteIndex(manifest.Manifest({"digest": ""}, {}))
    index.put(path, remote_index.empty())
    first = index.version(path)
    index.put(path, {**index.entry(path), "meta": {"id": "r"}}, {"meta": b'{"id": "r"}'})
    assert index.version(path) == first
    index.put(path, {**index.entry(path), "files": {"events.jsonl": file}})
    second = index.version(path)
    index.adopt(path, index.flush().lines[path])
    third = index.version(path)
    index.drop(path)
    index.put(path, remote_index.empty())
    assert len({0, first, second, third,
                index.version(path)}) == 5, "a run that went and came again is another one, too"


def test_a_file_that_the_list_learns_more_of_while_it_comes_is_completed(root, pair, monkeypatch):
    """The version says when to look into the list again: here an event log grows, and a manifest tells, while
    it is on its way."""
    run = make_run(root, "vision/resnet50/runs/20250123_180000_abc123", rows=2000)
    manifest.generate(str(root))
    one = pair(manifest=True)
    real, grown = one.sync.mirror.replace, []

    def replace(path, name, data):
        if name == "events.jsonl" and not grown:
            grown.append(name)
            with open(run / name, "ab") as log:
                log.write(b'{"ts":1,"step":99,"data":{"loss":1}}\n')
            os.utime(run / name, (OLD + 60, OLD + 60))
            line = manifest.build(str(root)).lines[path]
            one.sync._remote_root.index.adopt(path, line)
        return real(path, name, data)
    monkeypatch.setattr(one.sync.mirror, "replace", replace)
    while one.sync.one_pass(one.now) == 0.0:
        pass
    assert grown
    one.passes(31)
    one.same()


def test_room_is_reckoned_between_two_looks_at_the_disk(tmp_path, monkeypatch):
    free, looks = [10_000], []

    def usage(folder):
        looks.append(folder)
        return type("Usage", (), {"free": room.RESERVE + free[0]})
    monkeypatch.setattr(room.shutil, "disk_usage", usage)
    monkeypatch.setattr(room.time, "monotonic", lambda: 5.0)
    there = room.Room(tmp_path)
    for _ in range(9):
        assert there.claim(1000)
        there.release(1000, 1000)
        free[0] -= 1000
    assert len(looks) == 1
    assert there.claim(1000) and not there.claim(1) and len(looks) == 2, "before it refuses it looks again"
    free[0] += 5000
    assert there.claim(1) and len(looks) == 3, "somebody made room"


def test_room_is_never_reckoned_larger_than_what_was_seen_less_what_was_claimed(tmp_path, monkeypatch):
    free, now = [10_000], [5.0]
    monkeypatch.setattr(room.shutil, "disk_usage",
                        lambda folder: type("Usage", (), {"free": room.RESERVE + free[0]}))
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    there = room.Room(tmp_path)
    assert there.claim(4000)
    there.release(4000, 4000)           # written, and the disk was not looked at since
    free[0] -= 4000
    assert not there.claim(6001) and there.claim(6000)
    there.release(6000, 0)
    free[0] = 100                       # somebody else wrote
    now[0] += 2 * room.LOOK
    assert not there.claim(101) and there.claim(100)


def test_notes_of_parts_are_those_on_the_disk_and_those_made_since(tmp_path):
    from runicorn.mirror.parts import Parts
    from runicorn.mirror.plan import Fetch
    from runicorn.mirror.unsettled import Moment
    one, other = (Fetch("p/n/runs/r", name, 0, 7, 1.0, None, True, Moment(1.0, 2.0, 3.0))
                  for name in ("a.bin", "b.bin"))
    folder = str(tmp_path / "parts")
    assert Parts(folder).begun(one) is None
    first = Parts(folder)
    first.make_folder()
    first.note_begun(one)
    assert first.begun(one) == (2.0, 3.0) == Parts(folder).begun(one) and first.begun(other) is None
    first.rename(one, other)
    assert first.begun(one) is None and first.begun(other) == (2.0, 3.0)
    first.clear()
    assert first.begun(other) is None and Parts(folder).begun(other) is None and os.listdir(folder) == []


@pytest.mark.long
def test_a_folder_that_the_other_lines_thread_makes_in_the_same_moment_is_no_trouble(tmp_path, monkeypatch):
    near, path = local_copy.LocalCopy(tmp_path), "p/n/runs/r"
    near.lock()
    real, tries = layout.replace_file, []

    def late(place, data):
        tries.append(place)
        if len(tries) == 1:
            os.makedirs(os.path.dirname(place))
            raise FileNotFoundError(2, "No such file or directory")
        real(place, data)
    monkeypatch.setattr(layout, "replace_file", late)
    near.replace(path, "meta.json", b"{}")
    assert near.read(path, "meta.json", 0, 9) == b"{}" and len(tries) == 2
    near.unlock()


def test_what_nobody_waits_for_comes_over_the_second_line_once_the_list_was_asked_for(
        root, pair, monkeypatch):
    for number in range(12):
        make_run(root, f"p/n/runs/20250123_1800{number:02}_abc123", rows=20_000)
    make_run(root, RUN, "running", rows=20_000, old=False)
    live(root)
    monkeypatch.setattr("runicorn.mirror.second_line.PROBE", 0)
    monkeypatch.setattr("runicorn.mirror.second_line.FAST", 0.0)
    carried, take, expect = [], SecondLine._take, SecondLine.expect

    def expecting(bulk):
        expect(bulk)
        while bulk._fetcher is None:
            time.sleep(0.01)

    def taking(bulk, main, later, count, size):
        take(bulk, main, later, count, size)
        carried.append(set(bulk._taken_over))
    monkeypatch.setattr(SecondLine, "expect", expecting)
    monkeypatch.setattr(SecondLine, "_take", taking)
    one = pair()

    one.passes()
    one.same()
    keys = set().union(*carried)
    assert {name for _, name in keys} <= {"events.jsonl", "logs.txt"} and len(keys) >= 6
    assert RUN not in {
        path for path, _ in keys}, "what is being written comes first, over the first line: somebody may look"


def test_the_second_line_is_given_work_while_the_first_surveys(root, pair, monkeypatch):
    """It showed that it is fast while the folders were listed, and had nothing more to do until that was
    over."""
    for number in range(12):
        make_run(root, f"p/n/runs/20250123_1800{number:02}_abc123", rows=20_000)
    manifest.generate(str(root))
    monkeypatch.setattr("runicorn.mirror.second_line.TRIAL", 64 << 10)
    monkeypatch.setattr("runicorn.mirror.second_line.ENOUGH", 64 << 10)
    monkeypatch.setattr("runicorn.mirror.second_line.FAST", 1.0)
    carried, take, expect, refresh = [], SecondLine._take, SecondLine.expect, walk.Skeleton.refresh
    queues, surveying, survey = [], [], RemoteRoot.survey

    def expecting(bulk):
        expect(bulk)
        while bulk._fetcher is None:
            time.sleep(0.01)

    def taking(bulk, main, later, count, size):
        before = set(bulk._taken_over)
        take(bulk, main, later, count, size)
        if surveying:
            carried.append(set(bulk._taken_over) - before)

    def surveys(remote_root, *rest):
        surveying.append(queues.append(remote_root.queue))
        remote_root.queue.fetcher.pause(True)           # it has enough to do with the list
        survey(remote_root, *rest)
        remote_root.queue.fetcher.pause(False)
        surveying.clear()

    def refreshing(skeleton, now, *options, **more):
        until = time.monotonic() + 20
        while time.monotonic() < until and queues[-1].left > 3 * 12:        # its small files
            skeleton.client.lstat(str(root))
        return refresh(skeleton, now, *options, **more)
    monkeypatch.setattr(RemoteRoot, "survey", surveys)
    monkeypatch.setattr(SecondLine, "expect", expecting)
    monkeypatch.setattr(SecondLine, "_take", taking)
    monkeypatch.setattr(walk.Skeleton, "refresh", refreshing)
    one = pair(manifest=True)
    one.passes()
    one.same()
    assert len([keys for keys in carried
                if keys]) >= 2, "what it was tried with was all that it had until the survey ended"


def test_the_second_line_is_given_work_while_the_rest_is_planned(root, pair, monkeypatch):
    many_runs(root)
    manifest.generate(str(root))
    monkeypatch.setattr("runicorn.mirror.fetch_queue.AT_A_TIME", 10)
    steps, share, plan = [], SecondLine.share, FetchQueue.plan
    monkeypatch.setattr(SecondLine, "share", lambda *args: (steps.append("share"), share(*args))[1])
    monkeypatch.setattr(FetchQueue, "plan", lambda queue, paths, *rest, **options: (
        steps.append("plan") if options.get("more") else None, plan(queue, paths, *rest, **options))[1])
    one = pair(manifest=True)
    one.passes()
    one.same()
    first, last = steps.index("plan"), len(steps) - 1 - steps[::-1].index("plan")
    assert steps.count("plan") == RUNS // 10 and "share" in steps[first:last]


def test_a_run_is_compared_once_as_it_is_listed(root, pair, monkeypatch):
    many_runs(root)
    planned = counted(monkeypatch, Copies, "missing")
    one = pair()
    one.passes()
    one.same()
    assert len({path for _, path, *_ in planned}) >= RUNS
    assert len(planned) == len({path for _, path, *_ in planned})


def test_what_the_first_survey_lists_is_asked_for_with_the_first_look(root, pair, monkeypatch):
    """Unless a manifest file told of the runs before: a look at it costs less than a listing of them."""
    many_runs(root)
    steps, learn, pump, opendir = [], RemoteRoot.learn, sftp.Sftp.pump, sftp.opendir
    monkeypatch.setattr(RemoteRoot, "learn", lambda *args: (steps.append("learn"), learn(*args))[1])
    monkeypatch.setattr(sftp.Sftp, "pump", lambda client: (steps.append("wait"), pump(client))[1])
    monkeypatch.setattr(sftp, "opendir", lambda path: (steps.append(path), opendir(path))[1])

    def first_turn():
        one = pair()
        one.passes()
        one.same()
        one.close()
        told = steps[steps.index("learn") + 1:]
        listed = told.count(f"{root}/vision/resnet50/runs/20250123_180003_abc123")
        steps.clear()
        return told[:told.index("wait")], listed
    assert first_turn() == ([], 1)
    asked, listed = first_turn()
    assert f"{root}/vision/resnet50/runs/20250123_180003_abc123" in asked and len(asked) >= 20 and listed == 1
    manifest.generate(str(root))
    first_turn()
    assert first_turn()[0] == []


def test_what_is_missing_here_is_found_out_while_the_folders_are_listed(root, pair, monkeypatch):
    many_runs(root)
    one = pair()
    one.passes()
    one.same()
    one.close()
    gone = one.mirror / "vision/resnet50/runs/20250123_180003_abc123/events.jsonl"
    gone.unlink()
    monkeypatch.setattr("runicorn.mirror.fetch_queue.LITTLE", 4)
    steps, missing, opendir = [], Copies.missing, sftp.opendir
    monkeypatch.setattr(Copies, "missing",
                        lambda copies, path, *rest: (steps.append(path), missing(copies, path, *rest))[1])
    monkeypatch.setattr(sftp, "opendir", lambda path: (steps.append("list"), opendir(path))[1])
    again = pair()
    again.passes()
    again.same()
    planned = [step for step in steps if step != "list"]
    assert sorted(planned) == sorted(set(planned)) and len(planned) == RUNS
    assert steps.count("list") >= RUNS
    assert steps.index("list") < len(steps) - 1 - steps[::-1].index(planned[-1])
    assert steps.index("list") < RUNS, "the listing was begun only once all was planned"


def test_only_a_first_sync_has_a_second_line_before_there_is_work_for_it(root, pair):
    make_run(root)
    dialled = []

    class Counting(Far):
        def second(self):
            dialled.append(1)
            return super().second()
    one = pair(far=Counting())
    one.passes()
    one.same()
    assert dialled == [1]
    one.sync.pause()
    one.passes()
    one.far = Counting()
    one.sync.resume()
    one.passes()
    one.same()
    assert dialled == [1] and one.logins == 2


STYLES = {"compact": {"separators": (",", ":")}, "plain": {},
          **{f"indent {n}": {"indent": n} for n in (1, 2, 4, 8)},
          "letters": {"ensure_ascii": False, "indent": 2}}
VALUES = [{}, {"a": []},
          {"note": " two  blanks, a \\ and a \"quote\" } ", "学习": {"x": [1, {"y": None}, []], "z": {}}},
          {"lr": 1e-4, "f": [1.5, -0.0]}]


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_small_file_is_made_of_its_line_byte_by_byte(value, style, end):
    data = (json.dumps(value, **STYLES[style]) + end).encode()
    text, _ = manifest.splice(data, Counter())
    assert b"\n" not in text and remote_index.restored(text, len(data), sha256(data).hexdigest()) == data


@pytest.mark.parametrize("data", [
    b'{"a":\n1}', b'{\r\n "a": 1\r\n}', b' {"a": 1}', b'{"a": 1}\n\n', b'{"a": "%s"}' % (b"x" * 4096),
    b'{ "a": NaN }'])
def test_a_small_file_that_its_line_does_not_tell_is_fetched(data):
    text, _ = manifest.splice(data, Counter())
    made = remote_index.restored(text, len(data), sha256(data[-manifest.TAIL:]).hexdigest())
    assert made is None
    assert remote_index.restored(text, len(data), "0" * 64) is None


def opened_there(monkeypatch):
    """Have the names of the files that are opened on the server noted in the list that is returned."""
    names, plain = [], sftp.open_file

    def noting(path):
        names.append(path.rsplit("/", 1)[1])
        return plain(path)
    monkeypatch.setattr(sftp, "open_file", noting)
    return names


def test_small_files_that_python3_there_told_are_not_fetched_once_more(root, pair, monkeypatch):
    many_runs(root)
    write(root / RUN / "summary.json", b'{"loss": 0.25}\n\n', OLD)
    names = opened_there(monkeypatch)
    one = pair("exec")
    one.passes()
    one.same()
    assert Counter(names) == {"events.jsonl": RUNS, "logs.txt": RUNS, "summary.json": 1}
    assert verified.verified(one.mirror / RUN, RUN,
                             manifest.load(one.mirror / ".index" / "full.json").entry(RUN)["files"])
    names.clear()
    write(root / RUN / "summary.json", b'{"loss": 0.125}', OLD + 60)
    one.sync.sync_now()
    one.passes(31)
    one.same()
    assert "summary.json" not in names


def test_a_small_file_that_may_change_in_its_mtimes_second_is_read_again(root, pair, monkeypatch):
    run = make_run(root)
    write(run / "summary.json", b'{"loss": 0.25}')
    names = opened_there(monkeypatch)
    one = pair("exec")
    one.passes()
    assert names.count("summary.json") == 1 and "meta.json" not in names
    one.passes(31)
    one.same()


def test_a_file_found_wrong_is_read_from_the_server_and_not_from_the_list(root, pair):
    run = make_run(root)
    one = pair("exec")
    one.passes()
    (run / "summary.json").write_bytes(b'{"loss": 0.7}')         # as long as before
    os.utime(run / "summary.json", (OLD, OLD))
    assert json.loads((one.mirror / RUN / "summary.json").read_text()) == {"loss": 0.5}
    one.sync._remote_root.verify(one.sync._clock.at(one.now))
    one.passes()
    one.same()
