"""A real OpenSSH sshd on a free loopback port, with its own keys, for one test: `with Sshd(tmp_path) as
server: ...`"""

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
from ports import free_port, listening
from waiting import until

# only root's sshd can chroot
JAIL = {"ChrootDirectory": "/var"} if getattr(os, "getuid", bool)() == 0 and os.name == "posix" else {}
JAILED = "" if JAIL else "/var"             # what comes before a path below /var as a jailed session sees it
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"     # sshd wants to be started by its absolute path
START_SECONDS = 20
# bash, called by sshd, reads ~/.bashrc unless it takes itself for an inner shell. What stands there is not
# ours to run, least of all to kill half way: a version manager's lock that is left behind holds up every
# login of this user.
NO_BASHRC = "SHLVL=2"


class Sshd:
    """An sshd in `folder` (made if absent): starts when made, ends with `stop()` or the `with` block.

    config: sshd_config keywords and values, which win over ours: Sshd(folder, MaxSessions=1).
    extra: whole sshd_config lines appended at the end (Match blocks go here). address: what to listen on.
    start: the folder where an SFTP session begins ("~"), default: the user's home folder.
    Public: port, host, user, key and known_hosts (Path), folder, host_key (public key file, Path), log
    (Path), home (start).
    """

    def __init__(self, folder, extra=(), address="127.0.0.1", start=None, **config):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host, self.user = address, getpass.getuser()
        self.home = Path(start) if start else Path("~").expanduser()
        self.port = free_port(address)
        self.key, self.log = self.folder / "id_user", self.folder / "sshd.log"
        self.known_hosts = self.folder / "known_hosts"
        self.host_key = self.folder / "host_key.pub"
        self._process = None
        self._subsystem = f"internal-sftp -d {start}" if start else "internal-sftp"
        make_key(self.key)
        make_key(self.folder / "host_key")
        shutil.copy(self.key.with_suffix(".pub"), self.folder / "authorized_keys")
        self.write_known_hosts()
        (self.folder / "sshd_config").write_text(self._config(config, extra))
        self.start()

    def _config(self, config, extra):
        ours = {
            "Port": self.port, "ListenAddress": self.host, "HostKey": self.folder / "host_key",
            "PidFile": "none", "AuthorizedKeysFile": self.folder / "authorized_keys", "StrictModes": "no",
            "UsePAM": "no", "UseDNS": "no", "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no", "PermitRootLogin": "yes", "PrintMotd": "no",
            "MaxStartups": "100:30:200", "Subsystem": f"sftp {self._subsystem}",
            "SetEnv": f"{NO_BASHRC} PATH={Path(sys.executable).resolve().parent}:/usr/bin:/bin", **config,
        }
        return ("".join(f"{key} {value}\n" for key, value in ours.items())
                + "".join(f"{line}\n" for line in extra))

    def write_known_hosts(self):
        """Write `known_hosts` with this server's name and present host key."""
        key = " ".join(self.host_key.read_text().split()[:2])
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {key}\n")

    def trusted_in(self, home):
        """Put this server's present host key into `home`/known_hosts (`home`: a RUNICORN_HOME). Returns
        self."""
        self.write_known_hosts()
        Path(home).mkdir(parents=True, exist_ok=True)
        with open(Path(home) / "known_hosts", "a") as file:
            file.write(self.known_hosts.read_text())
        return self

    def new_host_key(self):
        """Give the server another host key (known_hosts keeps the old one) and restart it."""
        for path in (self.folder / "host_key", self.host_key):
            path.unlink()
        make_key(self.folder / "host_key")
        self.restart()

    def command(self):
        """Return the words that start sshd (list)."""
        return [SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log)]

    def start(self):
        """Start sshd and wait until it accepts connections."""
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)     # its privilege separation folder
        self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL)
        with contextlib.suppress(AssertionError):
            until(lambda: listening(self.host, self.port) or self._process.poll() is not None,
                  seconds=START_SECONDS, pause=0.02)
        if self._process.poll() is not None or not listening(self.host, self.port):
            self.stop()
            raise RuntimeError(
                f"sshd did not start: {self.log.read_text() if self.log.exists() else 'no log'}")

    def sessions(self):
        """Return the processes (psutil) that serve connections now."""
        return (psutil.Process(self._process.pid).children(recursive=True) if self._process.poll() is None
                else [])

    def cut(self):
        """Kill every session, as a lost line would; the server goes on listening."""
        kill(self.sessions())

    def stop(self):
        """End the server and all of its sessions."""
        kill(self.sessions())       # before their parent, which reaps them
        self._process.kill()
        self._process.wait()

    def restart(self):
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def connection(self, **changes):
        """Return a connection (dict as in config.json) that reaches this server with its key."""
        return {"name": "test", "host": self.host, "port": self.port, "user": self.user, "auth": "key",
                "key": str(self.key), **changes}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def kill(processes):
    """Kill `processes` (psutil); those that ended by themselves are fine."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass        # ended between the look and the kill


def make_key(path, passphrase="", kind="ed25519"):
    """Make a key pair at `path` and `path`.pub with ssh-keygen unless it exists. Returns `path`."""
    if not Path(path).exists():
        # the smallest OpenSSH takes without a word: quick to make
        size = ["-b", "2048"] if kind == "rsa" else []
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-a", "1", "-N", passphrase, "-C", "test",
                        "-f", str(path)], check=True)
    return path
