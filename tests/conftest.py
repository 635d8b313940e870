"""What all tests share: a home of their own, so that no test sees or touches the files of whoever runs it."""

import gc
import itertools
import os
import signal

import needs_posix
import order
import pytest
import quick
import tally
import tiers

# of a shell's background job; what the tests start is to take Ctrl+C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# of nohup: what the tests start is to hear it
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
# of a background job, too
if hasattr(signal, "SIGQUIT") and signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true",
                     help="only files that need no sshd, browser or framework, see support/quick.py")


def pytest_configure(config):
    gc.disable()                    # until all is collected: each of its many walks would find nothing
    from hypothesis import HealthCheck, settings
    # How long an example takes says more of the machine than of what is tried
    profile = settings(max_examples=15 if config.getoption("quick") else 40, deadline=None,
                       suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("any machine", profile)
    settings.load_profile("any machine")


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):         # one of several processes (xdist)
        session.config.workeroutput["states"] = {way: dict(counts) for way, counts in tally.states.items()}
        session.config.workeroutput["tallied"] = tally.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for way, counts in getattr(node, "workeroutput", {}).get("states", {}).items():
        tally.count(way, counts)
    tally.add(*getattr(node, "workeroutput", {}).get("tallied", ()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return order.scheduler(config, log)


def pytest_terminal_summary(terminalreporter):
    for line in tally.summary():
        terminalreporter.write_line(line)


def pytest_ignore_collect(collection_path, config):
    """Where there is no POSIX, leave out modules that can't even be imported there; with --quick, what is not
    quick."""
    if (config.getoption("quick") and collection_path.name.startswith("test_")
        and not quick.is_quick(collection_path)):
        return True
    if (os.name != "posix" and collection_path.name.startswith("test_")
        and needs_posix.loads(collection_path.stem)):
        return True
    return None


def pytest_collection_finish():
    """What was collected, a million objects, stays to the end: the garbage collector need not walk it."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)                          # before pytest's own, which leaves out by -m
def pytest_collection_modifyitems(config, items):
    """Mark rows of long tables, where whole files are run, and what needs POSIX; where there is none, the
    rest is run."""
    items.sort(key=order.rank)
    if not any("::" in part for part in config.args) and not config.getoption("lf", False):
        tiers.shorten(items)
    if os.name != "posix" or "posix" in config.option.markexpr:         # it reads all sources: seconds
        needs_posix.mark(items)
    if os.name != "posix":
        others = [item for item in items if item.get_closest_marker("posix")]
        items[:] = [item for item in items if not item.get_closest_marker("posix")]
        config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session")
def _homes(tmp_path_factory):
    return tmp_path_factory.mktemp("h"), itertools.count()


@pytest.fixture(autouse=True)
def home(_homes, monkeypatch):
    """A fresh RUNICORN_HOME and user home (Path of the former) for every test; no SSH agent of the
    outside."""
    # not tmp_path_factory.mktemp for each: it lists all that it made before
    folder, number = _homes
    user = folder / str(next(number))
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("RUNICORN_HOME", str(user / ".runicorn"))
    for name in ("SSH_AUTH_SOCK", "RUNICORN_DIR", "RUNICORN_RUN_ID", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return user / ".runicorn"


@pytest.fixture
def sshd(tmp_path):
    """A running sshd (see sshd.Sshd) whose SFTP sessions begin in `tmp_path/far`."""
    from sshd import Sshd  # with paramiko: a tenth of a second that few files need
    (tmp_path / "far").mkdir()
    with Sshd(tmp_path / "sshd", start=tmp_path / "far") as server:
        yield server


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine python3 takes its time; what the mirror does without its answer is a test of its
    own."""
    monkeypatch.setattr("runicorn.mirror.remote_root.PATIENCE", 60.0)
