"""Make a CPython 3.10 of Windows under Wine, of packages of the registry alone, and run a script there.

    python3 tests/support/windows_python.py FOLDER SCRIPT [WORD ...]

Two wheels carry its parts: lilypond python.exe and its library, panda3d the same version's DLLs. FOLDER keeps
it for the next time, with the packages that the laptop's side and its tests need.
"""

import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

WHEELS = {"lilypond": "2.25.12", "panda3d": "1.10.16"}
PACKAGES = ("paramiko >= 3.4, < 6", "bottle >= 0.13", "pytest >= 8", "psutil", "hypothesis")
# pytest's on that system and that version, for which pip asks this one's
MARKED = ("colorama", "exceptiongroup", "tomli")
DOWNLOAD = ("-m pip download --quiet --only-binary :all: --platform win_amd64 --python-version 310 "
            "--implementation cp".split())
WHOLE = {"python.exe", "python310.zip", "python310.dll", "VCRUNTIME140.dll", "libffi-7.dll",
         "libcrypto-1_1.dll", "libssl-1_1.dll", "sqlite3.dll"}
MODULES = {"select.pyd", "unicodedata.pyd", "pyexpat.pyd"}
OTHERS = {"_tkinter.pyd", "_rplight.pyd"}
PAGE = 0x1000               # bytes; where the only section of a DLL of ours begins in memory


def main(folder, script, *words):
    folder = Path(folder).resolve()
    make(folder)
    running = start(folder, there(script), *words, stderr=subprocess.STDOUT)
    for line in running.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    return running.wait()


def start(folder, *words, environ=os.environ, **more):
    """Return the subprocess.Popen of the Windows Python in `folder` with these words. Its process is Wine's
    for that one program: what kills it kills the program, as Windows' Task Manager does."""
    environ = {**environ, "WINEPREFIX": str(folder / "prefix"), "WINEDEBUG": "-all"}
    # Wine's Python takes pipes for output and errors; a plain file stops it at its first line. Beside drive
    # C:, "/proc" would be Linux's.
    drive = folder / "prefix" / "drive_c"
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
             "cwd": drive if drive.exists() else None, **more}
    return subprocess.Popen([loader(), str(folder / "python" / "python.exe"), *words], env=environ, **pipes)


def loader():
    """Return Wine's program for 64 bits; Debian's `wine` is a script that complains about the other one."""
    return next(path for path in ("/usr/lib/wine/wine64", shutil.which("wine64"), shutil.which("wine"))
                if path and os.path.exists(path))


def make(folder):
    """Put the Python into folder/python, once; the tree that this script is in goes on its path."""
    if not shutil.which("wine"):
        sys.exit("Wine is not installed: `make windows` installs it where it may (Debian: apt install wine "
                 "wine64)")
    python, site = folder / "python", folder / "python" / "site-packages"
    if not (python / "python310.dll").exists():
        python.mkdir(parents=True, exist_ok=True)
        for wheel in downloaded(folder, "--no-deps",
                                *(f"{name}=={version}" for name, version in WHEELS.items())):
            with zipfile.ZipFile(wheel) as archive:
                for item in filter(lambda item: wanted(item.rpartition("/")[2]), archive.namelist()):
                    (python / item.rpartition("/")[2]).write_bytes(archive.read(item))
    if not all((site / name).exists() for name in ("paramiko", "pytest")):
        # Packages for every Python 3 call python3.dll, and random bytes come from a DLL that this Wine lacks.
        names = exported((python / "python310.dll").read_bytes())
        (python / "python3.dll").write_bytes(
            forwarder("python3.dll", {name: f"python310.{name}" for name in names if "Py" in name[:3]}))
        (python / "bcryptprimitives.dll").write_bytes(
            forwarder("bcryptprimitives.dll", {"ProcessPrng": "advapi32.SystemFunction036"}))
        for wheel in downloaded(folder, *PACKAGES, *MARKED):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    tree = there(Path(__file__).resolve().parents[2])
    (python / "python310._pth").write_text(f"python310.zip\n.\nsite-packages\n{tree}\nimport site\n")


def downloaded(folder, *words):
    """Yield the path of every wheel that pip brings for Windows; each is deleted when the next is asked
    for."""
    wheels = folder / "wheels"
    subprocess.run([sys.executable, *DOWNLOAD, "-d", str(wheels), *words], check=True)
    for wheel in sorted(wheels.glob("*.whl")):
        yield wheel
        wheel.unlink()


def wanted(name):
    module = name.endswith(".pyd") and "." not in name[:-4] and (name.startswith("_") or name in MODULES)
    return name in WHOLE or module and name not in OTHERS


def there(path):
    """Return a path as Windows' programs under Wine have it: the drive Z: is /."""
    return "Z:" + str(Path(path).resolve()).replace("/", "\\")


# -- DLLs that only hand on (Microsoft's "PE Format") --------------------------------------------------------

def exported(dll):
    """Return the names (list of str) that a DLL for 64 bits (bytes) exports."""
    head = struct.unpack_from("<I", dll, 0x3C)[0]
    count, optional = struct.unpack_from("<H", dll, head + 6)[0], head + 24
    sections = [struct.unpack_from("<4I", dll,
                                   optional + struct.unpack_from("<H", dll, head + 20)[0] + 40 * number + 8)
                for number in range(count)]

    def place(address):
        return next(address - start + raw
                    for size, start, _, raw in sections if start <= address < start + size)
    table = place(struct.unpack_from("<I", dll, optional + 112)[0])
    number, _, names = struct.unpack_from("<3I", dll, table + 24)
    places = [place(address) for address in struct.unpack_from(f"<{number}I", dll, place(names))]
    return [dll[start:dll.index(b"\0", start)].decode() for start in places]


def forwarder(name, targets):
    """Return a DLL for 64 bits (bytes) whose exports are other DLLs' functions. targets: {name:
    "dll.function"}."""
    names, start = sorted(targets), 40
    texts, at = b"", {}
    base = start + 10 * len(names)
    for text in (name, *names, *targets.values()):
        at.setdefault(text, PAGE + base + len(texts))
        texts += text.encode() + b"\0"
    count = len(names)
    table = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, at[name], 1, count, count, PAGE + start,
                        PAGE + start + 4 * count, PAGE + start + 8 * count)
    table += (struct.pack(f"<{count}I", *(at[targets[one]] for one in names))
              + struct.pack(f"<{count}I", *(at[one] for one in names)))
    table += struct.pack(f"<{count}H", *range(count)) + texts
    raw = -(-len(table) // 512) * 512
    size = PAGE + -(-len(table) // PAGE) * PAGE
    optional = struct.pack("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII", 0x20B, 0, 0, 0, raw, 0, 0, PAGE, 0x180000000,
                           PAGE, 512, 6, 0, 0, 0, 6, 0, 0, size, 512, 0, 3, 0x100, 1 << 20, 1 << 12, 1 << 20,
                           1 << 12, 0, 16)
    optional += struct.pack("<II", PAGE, len(table)) + bytes(8 * 15)
    section = struct.pack("<8sIIIIIIHHI", b".edata", len(table), PAGE, raw, 512, 0, 0, 0, 0, 0x40000040)
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022) + optional + section
    return head.ljust(512, b"\0") + table.ljust(raw, b"\0")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
