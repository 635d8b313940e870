"""Keep a root's manifest fresh: the cron line, systemd timer or scheduled task that remakes it every 5
minutes, with this interpreter."""

import os
import shlex
import shutil
import subprocess
import sys
import zlib

from runicorn.errors import UsageError

UNIT = "runicorn-manifest"
SERVICE = "[Unit]\nDescription=Runicorn manifest\n\n[Service]\nType=oneshot\n{user}ExecStart={command}\n"
TIMER = "[Timer]\nOnCalendar=*:0/5\n\n[Install]\nWantedBy=timers.target\n"


def install(kind, root, yes):
    """Print the unit that regenerates the manifest every 5 minutes; with `yes` install it.

    kind: "cron", "systemd" or "schtasks"; root: absolute path. Returns the exit code; raises UsageError.
    """
    words = _command(root)
    if kind == "cron":
        return _install_cron("*/5 * * * * " + " ".join(map(shlex.quote, words)).replace("%", "\\%"), yes)
    if kind == "systemd":
        return _install_systemd(words, yes)
    try:
        from runicorn.schtasks import task_words  # Windows alone needs it
    except ImportError:
        raise UsageError("--install schtasks needs runicorn.pyz")  # noqa: B904
    task = task_words(root, words)
    print(subprocess.list2cmdline(task))
    return _call(task) if yes else 0


def _command(root):
    """Return the words that make the manifest again, with this interpreter: this file alone, or the archive
    it is in."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "manifest.py")
    if os.path.isfile(script):
        return [sys.executable, script, "--root", root]
    if os.path.isfile(sys.argv[0]):
        return [sys.executable, os.path.abspath(sys.argv[0]), "manifest", "--root", root]
    raise UsageError("--install needs a copy of Runicorn on this machine; copy manifest.py here and run it "
                     "from there")


def _quoted(word):
    """Return a word as ExecStart takes it literally (systemd.service(5): C escapes in quotes, % and $ are
    doubled)."""
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")


def _install_cron(line, yes):
    print(line)
    if not yes:
        return 0
    old = (subprocess.run(["crontab", "-l"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
           if shutil.which("crontab") else b"")
    if line.encode() in old.splitlines():
        return 0
    return _call(["crontab", "-"], old + (b"" if old[-1:] in (b"", b"\n") else b"\n") + line.encode() + b"\n")


def _install_systemd(words, yes):
    system = hasattr(os, "geteuid") and os.geteuid() == 0
    folder = "/etc/systemd/system" if system else os.path.expanduser("~/.config/systemd/user")
    user = "User=%s\n" % os.environ["SUDO_USER"] if system and os.environ.get("SUDO_USER") else ""
    unit = _unit(folder, words[-1])
    for ending, text in (("service", SERVICE.format(command=" ".join(map(_quoted, words)), user=user)),
                         ("timer", TIMER)):
        path = "%s/%s.%s" % (folder, unit, ending)
        print("# %s\n%s" % (path, text))
        if yes:
            os.makedirs(folder, exist_ok=True)
            with open(path, "wb") as file:
                file.write(os.fsencode(text))
    control = ["systemctl"] + ([] if system else ["--user"])
    # sudo, su and some logins by SSH leave the variable unset that leads systemctl to the user's systemd.
    if yes and not (system or os.path.isdir(
                                            os.environ.setdefault("XDG_RUNTIME_DIR",
                                                                  "/run/user/%d" % os.geteuid())
                                            + "/systemd")):
        raise UsageError("systemd does not run for this user: start it with `loginctl enable-linger`, or "
                         "choose --install cron")
    return ((_call(control + ["daemon-reload"]) or _call(control + ["enable", "--now", unit + ".timer"]))
            if yes else 0)


def _unit(folder, root):
    """Return the name of a root's units: UNIT, and one of its own where another root has that."""
    try:
        with open("%s/%s.service" % (folder, UNIT), "rb") as file:
            if os.fsencode(_quoted(root)) + b"\n" not in file.read():
                return "%s-%08x" % (UNIT, zlib.crc32(os.fsencode(root)))
    except OSError:
        pass            # absent, so the name is free
    return UNIT


def _call(words, text=b""):
    if not shutil.which(words[0]):
        raise UsageError("%s is not on this machine; choose another way with --install" % words[0])
    return 1 if subprocess.run(words, input=text).returncode else 0
