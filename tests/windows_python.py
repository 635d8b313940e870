"""Make a CPython 3.10 of Windows under Wine, of packages of the registry alone, and run a script there.

    python3 tests/windows_python.py FOLDER SCRIPT [WORD ...]

Two wheels carry its parts: lilypond python.exe and its library, panda3d the same version's DLLs. FOLDER keeps it for the next time.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

WHEELS = {"lilypond": "2.25.12", "panda3d": "1.10.16"}
WHOLE = {"python.exe", "python310.zip", "python310.dll", "VCRUNTIME140.dll", "libffi-7.dll", "libcrypto-1_1.dll", "libssl-1_1.dll",
         "sqlite3.dll"}
MODULES = {"select.pyd", "unicodedata.pyd", "pyexpat.pyd"}
OTHERS = {"_tkinter.pyd", "_rplight.pyd"}


def main(folder, script, *words):
    folder = Path(folder).resolve()
    if not shutil.which("wine"):
        install_wine()
    make(folder)
    environ = {**os.environ, "WINEPREFIX": str(folder / "prefix"), "WINEDEBUG": "-all"}
    # Wine's Python takes pipes for output; a plain file stops it at its first line.
    command = ["wine", str(folder / "python" / "python.exe"), there(script), *words]
    running = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in running.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    return running.wait()


def install_wine():
    if os.geteuid():
        sys.exit("Wine is not installed: install it (Debian: apt install wine), then run make again")
    for words in (["update"], ["install", "-y", "--no-install-recommends", "wine", "wine64"]):
        subprocess.run(["apt-get", "-qq", *words], check=True, stdout=subprocess.DEVNULL)


def make(folder):
    """Put the Python into folder/python, once; the tree that this script is in goes on its path."""
    python = folder / "python"
    if not (python / "python310.dll").exists():
        python.mkdir(parents=True, exist_ok=True)
        for name, version in WHEELS.items():
            subprocess.run([sys.executable, *"-m pip download --quiet --no-deps --only-binary :all: --platform win_amd64".split(),
                            *"--python-version 310 --implementation cp -d".split(), str(folder), f"{name}=={version}"], check=True)
            wheel, = folder.glob(f"{name}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for item in filter(lambda item: wanted(item.rpartition("/")[2]), archive.namelist()):
                    (python / item.rpartition("/")[2]).write_bytes(archive.read(item))
            wheel.unlink()
    tree = there(Path(__file__).resolve().parent.parent)
    (python / "python310._pth").write_text(f"python310.zip\n.\n{tree}\nimport site\n")


def wanted(name):
    module = name.endswith(".pyd") and "." not in name[:-4] and (name.startswith("_") or name in MODULES)
    return name in WHOLE or module and name not in OTHERS


def there(path):
    """Return a path as Windows' programs under Wine have it: the drive Z: is /."""
    return "Z:" + str(Path(path).resolve()).replace("/", "\\")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
