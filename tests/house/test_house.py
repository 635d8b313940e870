"""The packages of the house: who may import whom, how long a module may be, what the
server side may reach."""

import ast
import functools
import re
import subprocess
import sys
import textwrap

import pytest
import sources
from sources import PACKAGE

# Who may import whom: a module its own folder, the ground, and what stands beside its folder here.
GROUND = ("assets clock disk errors faults foreign foreign_names foreign_rules foreign_text layout "
          "left_out local_disk local_names loopback manifest "
          "manifest_entry manifest_lines manifest_timer masking namesake news rule_book rule_process "
          "rule_worker rules schtasks settings "
          "shares surrogates version")
PACKAGES = {
    "writer": "", "integrations": "writer wandb", "wandb": "writer",
    "ssh": "", "metrics": "metrics.kinds", "metrics.kinds": "metrics.parse",
    "mirror": "ssh.sftp ssh.sftp_answers ssh.grants ssh.remote_shell",
    "connections": "ssh mirror", "reader": "metrics mirror.local_copy mirror.run_places mirror.verified",
    "transfer": "metrics metrics.kinds reader mirror.plan", "viewer": "metrics reader transfer",
    "cli": "writer wandb ssh metrics mirror connections reader transfer viewer",
}
# what reader.own_runs asks about runs of this machine
OWN_RUNS = "writer.environment writer.live writer.system"
PAGES = {"shared": "", "charts": "shared", "runs": "shared charts", "run": "shared charts",
         "compare": "shared charts", "settings": "shared", "report": ""}
# Each third-party package has exactly one door (the demo plays an SFTP server).
DOORS = {"paramiko": {"ssh.remote", "cli.demo_server"}, "bottle": {"viewer.app"}, "pynvml": {"writer.system"},
         "cryptography": {"ssh.keys"}, "pyarrow": {"transfer.parquet"}, "pyspark": {"transfer.spark"}}
SERVER_SIDE = ("__init__", *GROUND.split())      # and the writer


def modules():
    """Return the names (list) of all modules, `writer.run` for runicorn/writer/run.py."""
    return [name.replace("/", ".") for name in sources.paths()]


def nodes(name):
    return sources.nodes(name.replace(".", "/"))


@functools.cache
def imports(name):
    """Return the modules of ours and the packages of others that a module imports anywhere."""
    names = set()
    for_types = {inner for node in nodes(name)
                 if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
                 for inner in ast.walk(node)}       # not run
    for node in nodes(name):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            near = ["runicorn", *name.split(".")[:-node.level]] if node.level else []
            base = ".".join([*near, *filter(None, [node.module])])
            names |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    ours = {name.partition(".")[2] for name in names if name.startswith("runicorn.")}
    return ours & set(modules()), {name.split(".")[0] for name in names} - {"runicorn"}


# Where systems differ: files; processes; whose a connection is; agents, pipes and folders of ssh. The last
# two: it runs alone, it notes.
SYSTEMS = {"local_disk", "writer.processes", "loopback", "ssh.local", "manifest", "writer.environment"}


def _asks_for_the_system(node):
    return (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in (
                ("os", "name"), ("sys", "platform"), ("platform", "system")))


def test_systems_differ_in_few_modules_only():
    assert {name for name in modules() if any(map(_asks_for_the_system, nodes(name)))} == SYSTEMS


def test_every_module_has_its_place():
    assert {name for name in modules() if "." not in name} == {*GROUND.split(), "__init__", "__main__"}
    assert {name.rpartition(".")[0] for name in modules() if "." in name} == set(PACKAGES)
    assert all(len(nodes(f"{package}.__init__")[0].body) == 1
               for package in PACKAGES if package != "wandb"), "a docstring alone"


def test_imports_follow_the_table():
    against = []
    for name in set(modules()) - {"__init__", "__main__"}:
        package = name.rpartition(".")[0]
        allowed = {package, *GROUND.split(), *PACKAGES.get(package, "").split(),
                   *(OWN_RUNS.split() if name == "reader.own_runs" else ())}
        against += [(name, other) for other in imports(name)[0]
                    if not {other, other.rpartition(".")[0] or "ground"} & allowed]
    assert sorted(against) == []


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_no_package_imports_in_a_circle(package):
    inside = {name: imports(name)[0]
              for name in modules() if name.rpartition(".")[0] == package and name != "__init__"}
    while inside:
        ends = [name for name, others in inside.items() if not others & inside.keys()]
        assert ends, f"a circle in {sorted(inside)}"
        for name in ends:
            del inside[name]


@pytest.mark.parametrize("folder", PAGES)
def test_scripts_of_a_page_import_no_other_page(folder):
    paths = sorted((PACKAGE.parent / "static" / folder).glob("*.js"))
    found = {other for path in paths
             for other in re.findall(r'["`]\.\./(\w+)/', path.read_text(encoding="utf-8"))} - {"uplot"}
    assert paths and found <= set(PAGES[folder].split())


@pytest.mark.parametrize("package", DOORS)
def test_each_package_has_one_door(package):
    users = {name for name in modules() if package in imports(name)[1]}
    assert users == DOORS[package]


def test_the_server_side_imports_the_standard_library_only():
    server_side = [name for name in modules()
                   if name.startswith(("writer.", "wandb.")) or name in SERVER_SIDE]
    frameworks = {"wandb.callbacks": {"stable_baselines3", "keras", "xgboost", "fastai"}}
    others = {name: imports(name)[1] - frameworks.get(name, {"pynvml"}) - set(sys.stdlib_module_names)
              for name in server_side}
    assert set(SERVER_SIDE) < set(others) and [found for found in others.items() if found[1]] == []


def test_no_module_passes_500_lines():
    lengths = {path.relative_to(PACKAGE.parent).as_posix(): path.read_text(encoding="utf-8").count("\n")
               for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "static").rglob("*.js")]}
    assert lengths.pop("runicorn/manifest.py") <= 800           # which travels alone
    assert [item for item in lengths.items() if item[1] > 500] == []


def test_the_server_side_works_without_site_packages(tmp_path):
    """`python -S -I` has no site-packages and no environment: what runs there runs on any cluster."""
    code = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        import runicorn
        run = runicorn.init(project="p", name="n", config={"lr": 0.1}, storage=sys.argv[2])
        print("hello from the cluster")
        for step in range(3):
            run.log({"loss": 1 / (step + 1)}, step=step)
        run.summary({"best": 0.5})
        run.finish()
        from runicorn import manifest
        code = manifest.main(["--root", sys.argv[2]])
        foreign = [name for name, module in sys.modules.items()
                   if "site-packages" in (getattr(module, "__file__", None) or "")]
        assert not foreign, foreign
        sys.exit(code)
    """)
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code, str(PACKAGE.parent), str(tmp_path)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    run, = tmp_path.glob("p/n/runs/*")
    assert len((run / "events.jsonl").read_text().splitlines()) == 3
    assert "hello from the cluster" in (run / "logs.txt").read_text()
    assert (tmp_path / ".runicorn" / "full_manifest.json").is_file()
