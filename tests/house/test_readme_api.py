"""The README's API section is complete, and its curl lines work as they stand against a running viewer."""

import json
import re
import subprocess
import threading
from pathlib import Path

import pytest
import showroom

from runicorn.connections.registry import Registry
from runicorn.news import Bell
from runicorn.viewer import app
from runicorn.viewer.routes import ROUTES, shown

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## HTTP API")[1].split("\n## ")[0]
SETUP, *REST = re.search(r"```bash\n(.*?)```", SECTION, re.S)[1].split("\n\n")
LINES = [line.split("   #")[0].strip() for line in "\n".join(REST).splitlines() if line.startswith("curl")]
ID = "20250123_180000_abc123"
# These need somebody on the far side, or a question that was asked: they must be refused in our own words.
REFUSED = {"connections/browse": "port", "connections/plan": "port", "connections/answer": "not_found",
           "connections/trust": "not_found", "connections/test/t1": "not_found", "rules/preview": "not_found",
           "cache/drop": "not_found", '-X DELETE -H "$H" -H "$J" -d \'{}\' "$V/api/runs/$KEY"': "usage"}


def test_every_route_has_its_curl_line():
    written = SECTION.replace("$KEY", "KEY").replace("GPU%20Server%201", "NAME")
    for route in ROUTES:
        rule = re.sub(r"<key:path>|\{key\}", "KEY", re.sub(r"<name:path>|\{name\}", "NAME", route.rule))
        rule = re.sub(r"<order:re:[^>]*>", "sync", rule).replace("<test>", "t1")
        lines = [line for line in written.splitlines() if f'"$V{rule}"' in line or f'"$V{rule}?' in line]
        assert any((f"-X {route.method} " in line) == (route.method != "GET")
                   for line in lines), f"{route.method} {shown(route.rule)}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(home, variables) of a viewer with one believable run called ID and a connection that leads nowhere;
    what the section's first lines set, as bash declares it."""
    home = tmp_path_factory.mktemp("laptop") / ".runicorn"
    root = home / "experiments"
    showroom.make(root, showroom.RUNS[5:6])
    folder, = root.glob("*/*/runs/*")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    (folder / "meta.json").write_text(json.dumps({**meta, "id": ID}), encoding="utf-8")
    folder.rename(folder.with_name(ID))
    bell = Bell()
    mirrors = Registry(home, bell)
    mirrors.save({"name": "GPU Server 1", "host": "127.0.0.1", "port": 1, "user": "alice", "auth": "agent"},
                 start=False)
    server = app.start(home, [("local", root)], mirrors, bell, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.url.rpartition(":")[2]
    setup = SETUP.replace("23300", port).replace("~/.runicorn", str(home))
    said = subprocess.run(["bash", "-c", f'set -e\n{setup}\ndeclare -p V KEY TOKEN H J'], capture_output=True,
                          text=True, timeout=60, check=True).stdout
    yield home, said
    server.stop()
    mirrors.stop()


@pytest.mark.parametrize("line", LINES, ids=lambda line: re.sub(r".*/api", "", line)[:40])
def test_the_curl_lines_work_as_they_stand(line, site, tmp_path):
    _, setup = site
    line = line.replace("timeout=25", "timeout=0.1").replace("gpu-server.example.com", "127.0.0.1").replace(
        '"start":true', '"start":false')
    done = subprocess.run(["bash", "-c", f"set -e\n{setup}\n{line}"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    refused = [code for part, code in REFUSED.items() if part in line]
    if " -o " in line:
        assert any(path.stat().st_size for path in tmp_path.iterdir())
    elif "logs/search" in line:
        assert [json.loads(row) for row in done.stdout.splitlines()][-1]["done"] is True
    elif "api/details" in line:
        (answer,) = map(json.loads, done.stdout.splitlines())
        assert answer["asked"] == ID and answer["run"]["key"].endswith(ID)
    elif refused:
        assert json.loads(done.stdout)["error"] == refused[0], done.stdout
    else:
        assert json.loads(done.stdout).get("error") is None
