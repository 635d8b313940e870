"""axe-core, the accessibility rules: fetched once with npm into build/, checked against a pinned checksum,
never committed."""

import functools
import hashlib
import subprocess
import tarfile
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build"
NAME = "axe-core-4.10.3"
SHA256 = "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"


@functools.cache
def source():
    """Return the text of axe.min.js."""
    archive = BUILD / f"{NAME}.tgz"
    if not archive.exists():
        BUILD.mkdir(exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"axe-core@{NAME.rpartition('-')[2]}"], cwd=BUILD,
                       check=True, stdout=subprocess.DEVNULL)
    assert hashlib.sha256(
        archive.read_bytes()).hexdigest() == SHA256, f"{archive} is not the one this project pins: delete it"
    with tarfile.open(archive) as package:
        return package.extractfile("package/axe.min.js").read().decode()


def violations(page):
    """Return what axe finds serious or critical on a page, as lines."""
    page.evaluate(source())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [f"{one['id']} ({one['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"][:3]]
