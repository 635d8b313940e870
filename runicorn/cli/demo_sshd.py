"""The demo's server where paramiko is missing: the system's own sshd on a free loopback port, read-only, SFTP
only, for one key."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time

from runicorn.errors import MissingPackageError

START_SECONDS = 20
# Where sshd lies, which few users' PATH has
PLACES = "/usr/sbin:/usr/local/sbin:/sbin:/opt/homebrew/sbin"
PRIVSEP = "/run/sshd"       # root's sshd wants it; the system makes it only when its own sshd starts


def tools():
    """Return (sshd, ssh-keygen), absolute paths. Raises MissingPackageError where they or ssh are not on this
    machine."""
    paths = [shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{PLACES}")
             for name in ("sshd", "ssh-keygen", "ssh")]
    if None in paths:
        raise MissingPackageError("the demo plays an SSH server and finds neither paramiko nor the system's "
                                  "sshd and ssh for it: "
                                  "`pip install paramiko`, or install OpenSSH's client and server")
    return paths[:2]


@contextlib.contextmanager
def serving(root, home):
    """Serve the folder `root` for the while; yield the connection (dict) that reaches it. home:
    RUNICORN_HOME, for key and known_hosts.

    Raises MissingPackageError without an sshd, or with what it said where it does not start.
    """
    sshd, keygen = tools()
    folder = home / "sshd"
    folder.mkdir(mode=0o700)
    for name in ("host", "login"):
        words = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(folder / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config").write_text("\n".join(
                                             [f"Port {port}", "ListenAddress 127.0.0.1",
                                              f"HostKey {folder / 'host'}", "PidFile none", "UsePAM no",
                                              "StrictModes no", f"AuthorizedKeysFile {folder / 'login.pub'}",
                                              "PasswordAuthentication no", "KbdInteractiveAuthentication no",
                                              "PermitRootLogin yes", "DisableForwarding yes",
                                              "Subsystem sftp internal-sftp -R",
                                              "ForceCommand internal-sftp -R", ""]))
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    with _privsep_folder():
        process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=open(folder / "log", "wb"),
                                   start_new_session=True)
        try:
            _await(process, port, folder / "log")
            yield {"host": "127.0.0.1", "port": port, "user": getpass.getuser(), "auth": "system",
                   "key": str(folder / "login"), "remote_root": str(root)}
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def _privsep_folder():
    missing = os.geteuid() == 0 and not os.path.isdir(PRIVSEP)
    if missing:
        os.mkdir(PRIVSEP, 0o755)
    try:
        yield
    finally:
        if missing:
            with contextlib.suppress(OSError):          # another sshd lives in it by now
                os.rmdir(PRIVSEP)


def _await(process, port, log):
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
    lines = log.read_text(errors="replace").strip().splitlines()
    why = lines[-1] if lines else "it says nothing"
    raise MissingPackageError(f"the demo needs an SSH server, and the system's sshd did not start: {why}; "
                              "`pip install paramiko` and the demo plays the server itself")
