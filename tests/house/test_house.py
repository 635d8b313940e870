"""The floors of the house: who may import whom, how long a module may be, what the server side may reach."""

import ast
import functools
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "runicorn"

# In order: a module imports only from rows above its own; the right side is exact ("*": anything above).
FLOORS = {
    # ground
    "disk": "", "local_disk": "", "version": "", "errors": "", "layout": "errors", "bell": "", "assets": "", "schtasks": "errors",
    "units": "errors schtasks",
    "manifest_entry": "", "manifest": "manifest_entry units",       # both only where they are used: the rest runs alone from a pipe
    # the writer
    "screen": "", "windows": "layout", "processes": "windows",
    "notice": "", "descriptors": "notice", "signals": "descriptors notice processes", "leaving": "", "ends": "leaving notice signals",
    "append": "descriptors layout notice", "console": "descriptors layout notice screen", "system": "notice processes",
    "pump": "append console descriptors notice system",
    "values": "layout notice", "jsonfile": "descriptors layout notice", "mappings": "notice values",
    "definitions": "layout values", "heart": "notice",
    "facts": "layout notice processes version",
    "masking": "", "ranks": "facts", "live": "descriptors facts layout notice processes", "place": "layout",
    "restart": "facts layout live notice ranks",
    "small_files": "jsonfile layout mappings masking", "images": "values", "silent": "definitions mappings notice values", "current": "",
    "recorder": "append console definitions ends facts heart images layout live notice pump silent small_files system values",
    "otherrank": "append facts heart layout live notice place recorder",
    "beginning": "current ends errors facts layout live masking notice otherrank place processes ranks recorder restart silent values",
    "writer": "beginning current errors notice silent",
    # the mirror
    "surrogates": "", "sftp_answers": "errors", "grants": "errors sftp_answers", "sftp": "errors grants sftp_answers",
    "remote_shell": "errors", "local_names": "errors layout",
    "plan": "errors layout local_names manifest", "run_places": "layout local_names", "parts": "layout",
    "cache": "errors layout local_names manifest parts plan run_places surrogates",
    "room": "", "clock": "", "left_out": "errors layout",
    "survey": "layout left_out manifest plan", "walk": "errors layout local_names manifest plan sftp",
    "fetch": "errors layout local_names manifest plan sftp", "bulk": "errors fetch plan",
    "unsettled": "plan", "intake": "bulk errors fetch layout left_out local_names manifest plan unsettled",
    "tails": "errors sftp", "beats": "errors layout plan sftp walk", "audit": "errors plan remote_shell sftp", "meter": "",
    "manifest_stream": "manifest",
    "execlook": "errors manifest manifest_stream remote_shell", "verified": "errors layout local_names manifest plan",
    "recheck": "verified",
    "moves": "errors layout local_names manifest plan sftp",
    "runlist": "errors manifest manifest_stream sftp survey unsettled", "looks": "plan", "opening": "errors execlook manifest runlist",
    "session": "audit beats bulk errors fetch intake layout local_names looks moves plan recheck runlist sftp sftp_answers "
               "survey tails walk",
    "sync": "cache clock errors grants layout left_out local_names meter opening room session survey",
    # reading
    "namesake": "version",
    "events": "layout surrogates", "wide": "", "columns": "events layout wide", "samples": "columns events layout",
    "curves": "columns", "buckets": "columns",
    "pieces": "", "series": "buckets columns curves errors events layout pieces samples", "lines": "",
    "expression": "errors lines", "logs": "errors expression layout lines", "states": "layout", "glance": "events layout local_names",
    "last_values": "glance layout",
    "kept": "errors layout manifest", "firstlook": "layout manifest",
    "record": "layout local_names states surrogates",
    "own_runs": "facts glance layout live system",
    "index": "cache firstlook glance kept layout left_out local_names manifest own_runs record run_places states verified",
    "command_root": "firstlook index kept layout local_disk manifest record",
    "entries": "errors glance last_values layout record states",
    "filters": "errors layout", "bounded": "layout", "listing": "bounded entries errors filters layout",
    "reader": "bounded columns entries errors firstlook index layout listing local_names series states", "poll": "",
    # the line to a server
    "settings": "errors layout local_names surrogates", "viewer_local": "", "viewer_client": "layout viewer_local",
    "beside": "firstlook local_names settings viewer_client",
    "scripts": "beside command_root errors filters layout reader settings states viewer_client",
    "ssh_local": "", "sshconfig": "errors ssh_local", "hostkeys": "errors", "ssh_transport": "", "ssh_keys": "errors ssh_local",
    "handshake": "errors hostkeys ssh_local ssh_transport sshconfig", "login": "errors ssh_keys",
    "ssh_process": "errors ssh_local", "ssh_words": "errors",
    "system_ssh": "errors remote_shell sftp ssh_local ssh_process ssh_words sshconfig",
    "remote": "errors handshake hostkeys login remote_shell sftp ssh_local ssh_process ssh_transport ssh_words sshconfig system_ssh",
    "doctor": "errors left_out namesake remote remote_shell sftp sftp_answers walk",
    "connection": "cache doctor errors layout local_names login remote settings sync", "questions": "",
    "quota": "cache errors layout local_names manifest plan run_places",
    "synclog": "", "mirrors": "connection doctor errors layout local_names questions quota remote room settings synclog",
    # out and in
    "tfevents": "", "report": "assets errors layout series version", "rows": "columns errors events layout",
    "export": "errors layout local_names report rows tfevents",
    "courier": "errors layout local_names manifest plan", "foreign": "errors layout",
    "check": "errors layout local_names manifest",
    "secretscan": "check errors layout local_names masking",
    # the viewer
    "sample_times": "clock glance layout",
    "server": "errors", "exchange": "errors layout surrogates", "guard": "exchange layout viewer_local",
    "files": "errors layout local_names", "far": "errors layout local_names logs",
    "routes": "bounded errors exchange export far files layout logs pieces version",
    "routes_connections": "errors exchange routes settings version",
    "viewer": "assets errors exchange guard layout pieces poll reader routes_connections sample_times server settings version viewer_local",
    # the command line
    "parser": "errors", "arguments": "parser", "terminal": "", "dialogue": "errors processes terminal windows",
    "tail": "errors layout manifest processes terminal", "demo_sshd": "errors", "demo": "*",
    "commands_sync": "*", "commands_viewer": "*", "commands_config": "*", "commands_runs": "*",
    "commands_files": "*", "commands_cache": "*",
    "cli": "errors parser terminal version", "completion": "cli errors",
    "__init__": "errors images scripts recorder version writer", "__main__": "cli",
}
# Each third-party package has exactly one door (the demo plays an SFTP server).
DOORS = {"paramiko": {"remote", "demo"}, "bottle": {"viewer"}, "pynvml": {"system"}, "cryptography": {"ssh_keys"}}
SERVER_SIDE = [*list(FLOORS)[:list(FLOORS).index("sftp_answers")], "__init__"]


@functools.cache
def modules():
    """Return {name: syntax tree} of all modules, read once."""
    return {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py")}


def imported(tree):
    """Return the modules of ours and the packages of others that a tree imports anywhere."""
    ours, others = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" if node.module == "runicorn" else node.module for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"runicorn.{node.module or alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            (ours.add(rest.split(".")[0]) if head == "runicorn" and rest else others.add(head))
    return ours, others


# Where systems differ: files; processes; whose a connection is; agents, pipes and folders of ssh. The last two: it runs alone, it notes.
SYSTEMS = {"local_disk", "processes", "viewer_local", "ssh_local", "manifest", "facts"}


def _asks_for_the_system(node):
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in (
        ("os", "name"), ("sys", "platform"), ("platform", "system"))


def test_systems_differ_in_four_modules_only():
    assert {name for name, tree in modules().items() if any(map(_asks_for_the_system, ast.walk(tree)))} == SYSTEMS


def test_every_module_has_its_place():
    assert set(modules()) == set(FLOORS)


@pytest.mark.parametrize("name", FLOORS)
def test_imports_point_only_to_floors_above(name):
    order = list(FLOORS)
    allowed = {*FLOORS[name].split(), *["disk", "local_disk"][:order.index(name)]}      # whatever touches files may ask for their ways
    if FLOORS[name] == "*":
        allowed = set(order[:order.index(name)])
    ours, _ = imported(modules()[name])
    ours &= set(FLOORS)                 # `from runicorn import __file__` and the like are no modules
    assert ours <= allowed, f"{name} imports {sorted(ours - allowed)}"
    if name not in ("__init__", "__main__"):
        assert all(order.index(other) < order.index(name) for other in allowed)


@pytest.mark.parametrize("package", DOORS)
def test_each_package_has_one_door(package):
    users = {name for name, tree in modules().items() if package in imported(tree)[1]}
    assert users == DOORS[package]


@pytest.mark.parametrize("name", SERVER_SIDE)
def test_the_server_side_imports_the_standard_library_only(name):
    _, others = imported(modules()[name])
    assert others - {"pynvml"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", [*sorted(PACKAGE.rglob("*.py")), *sorted((PACKAGE.parent / "static").rglob("*.js"))],
                         ids=lambda path: path.name)
def test_no_module_passes_500_lines(path):
    limit = 800 if path.name == "manifest.py" else 500          # which travels alone
    assert path.read_text(encoding="utf-8").count("\n") <= limit


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
        foreign = [name for name, module in sys.modules.items() if "site-packages" in (getattr(module, "__file__", None) or "")]
        assert not foreign, foreign
        sys.exit(code)
    """)
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code, str(PACKAGE.parent), str(tmp_path)], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    run, = tmp_path.glob("p/n/runs/*")
    assert len((run / "events.jsonl").read_text().splitlines()) == 3
    assert "hello from the cluster" in (run / "logs.txt").read_text()
    assert (tmp_path / ".runicorn" / "full_manifest.json").is_file()
