"""Environments of versions that can't stand beside the tests' own: made once below build/, kept there."""

import fcntl
import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build" / "environments"


def environment(name, *packages):
    """Return the Python (Path) of the environment `name`, which has the `packages` (requirements, str)."""
    folder, wanted = BUILD / name, "\n".join(packages)
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)            # tests run beside each other
        done = folder / "done"
        if not done.is_file() or done.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=300)
            subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet",
                            "--disable-pip-version-check", *packages], check=True, timeout=1500)
            done.write_text(wanted)
    return folder / "bin" / "python"
