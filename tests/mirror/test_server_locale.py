"""python3 on the server may take names for ASCII, as 3.6 does in the C locale: paths are sent and told as the
bytes they are."""

import logging
import os

import pytest
from far import Far
from nobody import PYTHON
from pairs import make_run, mirror, pair, root, settle, tree, write  # noqa: F401 (fixtures)

from runicorn import settings
from runicorn.errors import UsageError

RUN = "视觉/名 1/runs/20250123_180000_abc123"
NAME = "检查点.bin"
ROOTS = {"Chinese": "用户/实验", "Latin-1": os.fsdecode(b"caf\xe9/exp"), "plain": "exp"}
LOCALES = {"ASCII": f"env LC_ALL=C PYTHONCOERCECLOCALE=0 {PYTHON} -X utf8=0",
           "UTF-8": f"env LC_ALL=C.UTF-8 {PYTHON}"}


@pytest.mark.few(1)
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", ROOTS)
def test_a_root_of_any_bytes_is_listed_and_hashed_by_python3_there(root, pair, caplog, locale, name):
    caplog.set_level(logging.INFO)
    place = root / ROOTS[name]
    file = make_run(place, RUN) / NAME
    write(file, b"a" * 100_000, mtime=1.7e9)
    one = pair("exec", Far(python=LOCALES[locale]), remote_root=str(place))
    one.passes()
    one.passes(31)
    settle(one)
    assert one.sync.state()["source"] == "exec" and tree(one.mirror) == tree(place) and len(tree(place)) == 6
    os.utime(file, (1.71e9, 1.71e9))        # which its hash is asked for
    for _ in range(3):
        one.passes(31)
        settle(one)
    received = one.far.bytes_received
    os.utime(file, (1.72e9, 1.72e9))
    for _ in range(3):
        one.passes(31)
        settle(one)
    assert one.far.bytes_received - received < 50_000 and (one.mirror / RUN / NAME).stat().st_mtime == 1.72e9
    times = file.stat()
    write(file, b"b" * 100_000)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert one.sync._remote_root.verify(one.now) == {"files": 6, "refetched": 1}
    one.passes()
    assert tree(one.mirror) == tree(place)
    assert [record.message for record in caplog.records if "by python3 on the server" in record.message] == []


def test_a_home_of_latin_1_is_where_a_session_starts(root, pair):
    """What SFTP tells of it is no UTF-8, and is kept for the next session."""
    home = root / os.fsdecode(b"jos\xe9")
    make_run(home / "exp", RUN)
    for way in ("exec", "sftp"):
        one = pair(way, Far(python=PYTHON if way == "exec" else None, cwd=home), remote_root="~/exp")
        one.passes()
        one.passes(31)
        settle(one)
        assert one.sync.state()["state"] == "live" and tree(one.mirror) == tree(home / "exp")
        assert len(tree(one.mirror)) == 5
        assert one.sync.mirror.load_kept()["list"]["root"] == f"{home}/exp"
        one.close()


def test_an_absolute_root_of_latin_1_is_refused_with_a_remedy_that_works(root, pair):
    place = root / os.fsdecode(b"caf\xe9/exp")
    make_run(place, RUN)
    with pytest.raises(UsageError) as refused:
        settings.checked({"host": "gpu", "remote_root": str(place)})
    assert "caf\\xe9/exp, which is no UTF-8" in str(refused.value) and "make a link" in str(refused.value)
    (root / "link").symlink_to(place)
    one = pair(remote_root=settings.checked({"host": "gpu", "remote_root": f"{root}/link"})["remote_root"])
    one.passes()
    assert tree(one.mirror) == tree(place) and len(tree(place)) == 5
