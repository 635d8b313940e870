"""The mark `posix` is true: what a test reaches is seen, over helpers, fixtures and scripts; what runs
anywhere is not marked."""

import needs_posix
import pytest

# so spelled, what it reaches is not taken for what the tests below reach
MARK = vars(needs_posix)["mark"]
PLANTED = {
    "by itself": ("import os\n\ndef test_it():\n    os.{}()\n".format("fork"), True),
    "signal":
    ("import signal\n\ndef test_it(process):\n    process.send_signal(signal.{})\n".format("SIGKILL"), True),
    "over a helper":
    ("import os\n\ndef helper():\n    os.{}(1, 9)\n\ndef test_it():\n    helper()\n".format("kill"), True),
    "over a fixture": (
        "import pytest, os\n\n@pytest.fixture\ndef pipe(tmp_path):\n    os.{}(tmp_path)\n\n"
        "def test_it(pipe):\n    pass\n"
        .format("mkfifo"), True),
    "over usefixtures":
    ("import pytest, os\n\n@pytest.fixture\ndef other():\n    os.{}()\n\n@pytest.mark.usefixtures('other')\n"
     "def test_it():\n    pass\n".format("umask"), True),
    "over conftest": ("def test_it({}):\n    pass\n".format("sshd"), True),
    "over another file": ("from {} import Sshd\n\ndef test_it():\n    Sshd()\n".format("sshd"), True),
    "in a script": ("CODE = 'import os; os.{}()'\n\ndef test_it(run):\n    run(CODE)\n".format("fork"), True),
    "a program": ("def test_it(run):\n    run(['{}', '-c', 'x'])\n".format("bash"), True),
    "a keyword": ("def test_it(run):\n    run([], {}=print)\n".format("preexec_fn"), True),
    "in a class":
    ("import os\n\nclass Shell:\n    def close(self):\n        os.{}(1, 9)\n\n"
     "def test_it():\n    Shell()\n".format("kill"),
     True),
    "nothing": ("import os, signal\n\ndef other():\n    os.{}()\n\n"
                "def test_it(tmp_path):\n    signal.SIGINT\n    os.getpid()\n"
                .format("fork"), False),
    "a word": ("def test_it():\n    assert 'forks are {}ed'\n".format("fork"), False),
}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Make a folder of tests beside the helpers; gives a function that puts one module there."""
    helpers = needs_posix._places()
    monkeypatch.setattr(needs_posix, "TESTS", tmp_path)
    for name in ("conftest", "sshd"):
        (tmp_path / f"{name}.py").write_text(helpers[name].read_text(encoding="utf-8"), encoding="utf-8")
    caches = [value for value in vars(needs_posix).values() if hasattr(value, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    yield lambda source: (tmp_path / "test_planted.py").write_text(source)
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_seen(planted, case):
    source, expected = PLANTED[case]
    planted(source)
    assert needs_posix.needs("test_planted", "test_it") is expected


@pytest.mark.parametrize("source, expected", [
    ("import {}\n".format("fcntl"), True), ("from {} import fork\n".format("pty"), True),
    ("import os\nROOT = os.{}() == 0\n".format("getuid"), True), ("import os\n", False),
    ("import signal\nENDS = [signal.SIGINT, -signal.{}]\n".format("SIGHUP"), True),
    ("import signal\nENDS = [signal.SIGINT]\n", False),
    ("def f():\n    import {}\n".format("pty"), False)])
def test_a_module_that_only_posix_can_import_is_known(planted, source, expected):
    planted(source)
    assert needs_posix.loads("test_planted") is expected


def test_this_test_runs_anywhere_and_carries_no_mark(request):
    MARK([request.node])
    assert request.node.get_closest_marker("posix") is None


@pytest.mark.usefixtures("sshd")
def test_this_one_carries_it(request):
    MARK([request.node])
    assert request.node.get_closest_marker("posix") is not None
