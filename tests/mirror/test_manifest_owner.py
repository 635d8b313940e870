"""Whose manifest file is read, where all may write to the root: another user could say there whatever they
like of our runs."""

import stat

import pytest
from pairs import RUN, make_run, mirror, pair, root, write  # noqa: F401 (fixtures)

from runicorn import manifest
from runicorn.mirror.server_runs import RunList

PRIVATE, SHARED = stat.S_IFDIR | 0o755, stat.S_IFDIR | 0o1777
OWNER, USER, STRANGER = 1001, 1002, 1003


@pytest.fixture
def owned(monkeypatch):
    """A function that has the server tell these owners and modes; the files are as they are."""
    told, read = {}, RunList.read

    def reading(runs, stats, now):
        changed = {}
        for path, attrs in stats.items():
            key = "home" if path == "." else "root" if path == runs.root else path.rpartition("/")[2]
            changed[path] = (attrs._replace(**told[key]) if key in told and hasattr(attrs, "_replace")
                             else attrs)
        return read(runs, changed, now)
    monkeypatch.setattr(RunList, "read", reading)
    return told.update


@pytest.mark.parametrize("root_mode, folder_mode, uid, is_read", [
    (PRIVATE, PRIVATE, STRANGER, True),         # whoever may write there was let in
    (SHARED, SHARED, OWNER, True), (SHARED, SHARED, USER, True), (SHARED, SHARED, 0, True),
    (SHARED, SHARED, None, True),               # a server that tells no owners
    (SHARED, SHARED, STRANGER, False), (SHARED, PRIVATE, STRANGER, False),
    (PRIVATE, SHARED, STRANGER, False)])
def test_a_strangers_manifest_is_not_read_where_all_may_write(
        root, pair, owned, caplog, root_mode, folder_mode, uid, is_read):
    run = make_run(root)
    manifest.generate(str(root))
    owned({"root": {"mode": root_mode, "uid": OWNER}, ".runicorn": {"mode": folder_mode, "uid": STRANGER},
           "home": {"uid": USER}, "full_manifest.json": {"uid": uid}, "active_manifest.json": {"uid": uid}})
    one = pair(manifest=True)
    one.passes()
    one.same()
    assert one.sync.state()["source"] == ("manifest" if is_read else "walk")
    assert caplog.text.count("another user's (uid 1003)") == (0 if is_read else 2), "each of the two, once"
    write(run / "summary.json", '{"later": 1}')
    one.passes(40)
    one.passes(40)
    one.same()
    assert caplog.text.count("another user's") == (0 if is_read else 2)


def test_a_strangers_newer_manifest_hides_no_other(root, pair, owned):
    """Of a plain and a packed one the newer counts: anybody could make that."""
    make_run(root)
    manifest.generate(str(root))
    folder = root / ".runicorn"
    (folder / "full_manifest.json.gz").write_bytes(b"not even one")
    owned({"root": {"mode": SHARED, "uid": OWNER}, ".runicorn": {"mode": SHARED, "uid": OWNER},
           "home": {"uid": USER}, "full_manifest.json": {"uid": USER},
           "active_manifest.json": {"uid": STRANGER},
           "full_manifest.json.gz": {"uid": STRANGER, "mtime": 1 << 31}})
    one = pair(manifest=True)
    one.passes()
    one.same()
    assert one.sync.state()["source"] == "manifest" and RUN in one.sync.mirror.load_index()
