"""The names of W&B's package: every one that the real one has, and that its integrations and frameworks use,
is answered; none raises."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from one_process import quiet  # noqa: F401 (a fixture)
from scripts import environment, only, rows, train

import runicorn
import runicorn.wandb as wandb
from runicorn.wandb import names

REAL = Path(metadata.distribution("wandb").locate_file("wandb"))
THEIRS = """import json, sys, wandb
from wandb.sdk.wandb_run import Run
print(json.dumps([[n for n in dir(wandb) if n[0] != "_"], [n for n in dir(Run) if n[0] != "_"],
                  list(wandb.__all__)]))"""
FRAMEWORKS = ["transformers/integrations/integration_utils.py", "pytorch_lightning/loggers/wandb.py",
              "accelerate/tracking.py"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("RUNICORN_QUIET", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run():
    run = wandb.init(project="p", name="n", console="off", system=False)
    yield run
    run.finish()


@pytest.fixture(scope="module")
def theirs():
    import json
    return json.loads(subprocess.run([sys.executable, "-c", THEIRS], capture_output=True, text=True,
                                     timeout=120, check=True).stdout)


def test_the_table_has_every_name_of_the_real_package(theirs):
    public, of_run, listed = theirs
    assert len(public) > 80 and set(public) <= names.PUBLIC
    assert set(listed) - {"__version__"} <= names.PUBLIC
    ours = names.RUN | {"config", "define_metric", "dir", "finish", "log", "name", "notes", "path", "project",
                        "resumed", "step", "tags", "unwatch", "use_artifact", "watch", "id", "summary"}
    assert len(of_run) > 40 and set(of_run) <= ours


def test_every_name_is_answered_before_within_and_after_a_run(run):
    assert len(names.PUBLIC) > 90 and set(dir(wandb)) >= names.PUBLIC
    for name in names.PUBLIC:
        assert hasattr(wandb, name) and hasattr(runicorn, name), name
    for name in names.RUN:
        assert hasattr(run, name) and hasattr(runicorn.run, name), name
    run.finish()
    for name in names.PUBLIC:
        assert hasattr(wandb, name), name
    assert wandb.run is None


def calls(owner, listed):
    return sorted(name for name in listed if callable(getattr(owner, name, None)))


def test_every_function_and_class_can_be_called_without_raising(run, capsys):
    called = 0
    for name in calls(wandb, names.PUBLIC
                      - {"init", "finish", "join", "teardown", "run", "Run", "AlertLevel", "Config"}):
        for arguments in ((), ("x",), (object(),), ({"a": object()}, None)):
            try:
                inspect.signature(getattr(wandb, name)).bind(*arguments)
            except TypeError:
                continue                        # more or fewer than it takes, in W&B's as in ours
            getattr(wandb, name)(*arguments)
            called += 1
    assert called > 60 and not run.ended
    run.log({"loss": 1.0})
    assert rows(Path(run.dir))[-1]["data"] == {"loss": 1.0}


def test_names_that_nobody_has_stop_no_training(run, capsys):
    wandb.something_new(1, key=2).deeper["x"](3)
    run.another_thing().more()
    for _ in wandb.Api().runs("me/project"):
        raise AssertionError
    with wandb.launch.agent("x") as nothing:
        assert not nothing and list(nothing) == []

    class Mine(wandb.integration.unknown.Callback):
        def on_end(self):
            return 7
    assert Mine(1, key=2).on_end() == 7

    @wandb.decorated
    def function():
        return 5
    assert function() == 5 and not isinstance(3, wandb.unknown_kind)
    err = capsys.readouterr().err
    assert [err.count(f"wandb.{name}") for name in ("something_new", "Api")] == [1, 1]
    assert "runicorn.runs()" in err


@pytest.mark.parametrize("name", ["__wrapped__", "_private", "__fspath__"])
def test_what_is_private_is_no_attribute(run, name):
    for owner in (wandb, run, wandb.Api, wandb.sdk):
        with pytest.raises(AttributeError):
            getattr(owner, name)


def test_native_runs_answer_names_of_wandb_only():
    with runicorn.init(project="p", capture=False, system=False) as run:
        assert (run.url, run.entity, run.sweep_id, run.offline) == (None, "", None, True)
        run.mark_preempting()
        assert run.settings.project == "p" and runicorn.termlog("x") is None and runicorn.login() is True
        for owner in (run, runicorn):
            with pytest.raises(AttributeError):
                owner.nonsense                # noqa: B018


def submodules():
    """Return the dotted names of the real package's modules, without its own copies of others' packages."""
    found = [module.name for module in pkgutil.walk_packages([str(REAL)], "", onerror=lambda name: None)
             if not module.name.startswith(("vendor", "bin"))]
    assert len(found) > 30
    return found


def test_its_modules_can_be_imported_under_either_name(tmp_path):
    code = ("import runicorn.wandb.aliases as aliases\naliases.install()\n"
            "import importlib, wandb, runicorn.wandb\n" + "".join(
                f"importlib.import_module('wandb.{name}')\n"
                for name in [*submodules(), "sdk.lib.config_util", "keras", "sdk.lib.runid"]))
    code += textwrap.dedent("""
        import wandb.errors, wandb.plot, wandb.util
        from wandb.sdk.lib import RunDisabled
        from wandb.sdk.lib.config_util import ConfigError
        from wandb.wandb_run import Run
        from wandb.sdk.data_types.trace_tree import Trace
        assert wandb is runicorn.wandb and wandb.errors.Error is wandb.Error
        assert wandb.sdk.wandb_run.Run is wandb.Run is Run
        assert wandb.plot is runicorn.wandb.plot and issubclass(ConfigError, wandb.Error)
        assert issubclass(wandb.errors.NewError, Exception)
        assert wandb.util.generate_id() != wandb.util.generate_id()
        assert len(wandb.sdk.lib.runid.generate_id(6)) == 6
        run = wandb.init(project="p")
        assert isinstance(run, Run) and wandb.run is run
        import runicorn
        assert isinstance(runicorn.run, Run) and not isinstance(3, Run)
    """)
    assert train(tmp_path, code) == ("", "")


def used(source):
    """Yield the dotted names below wandb, and the modules, that a source uses."""
    tree = ast.parse(source)
    bound = {"wandb", "self._wandb", "wb"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in bound:
            yield f"wandb.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "wandb":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("place", FRAMEWORKS)
def test_what_frameworks_use_is_answered(place):
    asked = sorted(set(used((REAL.parent / place).read_text(encoding="utf-8"))))
    assert len(asked) > 3
    for path in asked:
        module, _, name = path.partition("wandb.")[2].rpartition(".")
        owner = importlib.import_module("runicorn.wandb" + (f".{module}" if module else ""))
        assert hasattr(owner, name), path


def test_what_its_own_integrations_use_is_answered(run):
    asked = sorted({path for source in (REAL / "integration").rglob("*.py")
                    for path in used(source.read_text(encoding="utf-8"))
                    if path.startswith("wandb.") and path.split(".")[1][:1] != "_"})
    assert len(asked) > 60
    for path in asked:
        module, _, name = path.partition("wandb.")[2].rpartition(".")
        owner = importlib.import_module("runicorn.wandb" + (f".{module}" if module else ""))
        assert name[:1] == "_" or hasattr(owner, name), path


def test_a_folder_on_the_path_makes_it_wandb(tmp_path):
    from runicorn.cli.wandb_folder import fill_folder
    fill_folder(str(tmp_path / "first"))
    code = textwrap.dedent("""
        import importlib.metadata, importlib.util
        assert importlib.util.find_spec("wandb") is not None
        import wandb
        from wandb.sdk.lib import RunDisabled
        assert wandb.__version__ == importlib.metadata.version("wandb")
        assert tuple(map(int, wandb.__version__.split("."))) >= (0, 12, 10)
        import runicorn.wandb
        assert wandb is runicorn.wandb
        wandb.init(project="p").log({"loss": 1})
    """)
    tree = environment(tmp_path)["PYTHONPATH"]
    assert train(tmp_path, code, PYTHONPATH=f"{tmp_path / 'first'}{os.pathsep}{tree}",
                 RUNICORN_WANDB_SAID="1") == ("", "")
    assert rows(only(tmp_path))[0]["data"] == {"loss": 1}
