"""Keep a root's manifest fresh: the cron line, systemd timer or scheduled task that remakes it every 5 minutes, with this interpreter."""

import os
import shlex
import shutil
import subprocess
import sys

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
        return _install_systemd(" ".join(_quoted(word) for word in words), yes)
    task = ["schtasks", "/Create", "/F", "/SC", "MINUTE", "/MO", "5", "/TN", "Runicorn manifest", "/TR", subprocess.list2cmdline(words)]
    print(subprocess.list2cmdline(task))
    return _call(task) if yes else 0


def _command(root):
    """Return the words that make the manifest again, with this interpreter: this file alone, or the archive it is in."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "manifest.py")
    if os.path.isfile(here):
        return [sys.executable, here, "--root", root]
    if os.path.isfile(sys.argv[0]):
        return [sys.executable, os.path.abspath(sys.argv[0]), "manifest", "--root", root]
    raise UsageError("--install needs a copy of Runicorn on this machine; copy manifest.py here and run it from there")


def _quoted(word):
    """Return a word as ExecStart takes it literally (systemd.service(5): C escapes in quotes, % and $ are doubled)."""
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")


def _install_cron(line, yes):
    print(line)
    if not yes:
        return 0
    old = subprocess.run(["crontab", "-l"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout if shutil.which("crontab") else b""
    if line.encode() in old.splitlines():
        return 0
    return _call(["crontab", "-"], old + (b"" if old[-1:] in (b"", b"\n") else b"\n") + line.encode() + b"\n")


def _install_systemd(command, yes):
    system = hasattr(os, "geteuid") and os.geteuid() == 0
    folder = "/etc/systemd/system" if system else os.path.expanduser("~/.config/systemd/user")
    user = "User=%s\n" % os.environ["SUDO_USER"] if system and os.environ.get("SUDO_USER") else ""
    for ending, unit in (("service", SERVICE.format(command=command, user=user)), ("timer", TIMER)):
        path = os.path.join(folder, "%s.%s" % (UNIT, ending))
        print("# %s\n%s" % (path, unit))
        if yes:
            os.makedirs(folder, exist_ok=True)
            with open(path, "w") as file:
                file.write(unit)
    control = ["systemctl"] + ([] if system else ["--user"])
    # sudo, su and some logins by SSH leave the variable unset that leads systemctl to the user's systemd.
    if yes and not (system or os.path.isdir(os.environ.setdefault("XDG_RUNTIME_DIR", "/run/user/%d" % os.geteuid()) + "/systemd")):
        raise UsageError("systemd does not run for this user: start it with `loginctl enable-linger`, or choose --install cron")
    return (_call(control + ["daemon-reload"]) or _call(control + ["enable", "--now", UNIT + ".timer"])) if yes else 0


def _call(words, text=b""):
    if not shutil.which(words[0]):
        raise UsageError("%s is not on this machine; choose another way with --install" % words[0])
    return 1 if subprocess.run(words, input=text).returncode else 0
