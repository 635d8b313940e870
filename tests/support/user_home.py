"""A user's home folder in which plain ssh and sftp run, beside our own login with the same ~/.ssh: what they
do is right."""

import os
import shutil
import subprocess
from pathlib import Path

from runicorn import settings
from runicorn.ssh import remote

TOOLS = {name: shutil.which(name) for name in ("ssh", "sftp")}
# ssh asks the password file, not $HOME, where "~" is: root gives it one with this home, which nobody else
# sees; others name the config.
ROOT = ('[ "$AT_HOME" ] && exec {tool} "$@"\nexport AT_HOME=1\n'
        'exec unshare -m sh -c \'mount --bind {folder}/passwd /etc/passwd && '
        'mount --bind {folder}/hosts /etc/hosts && exec {tool} "$@"\' {name} "$@"\n')
OTHERS = 'exec {tool} -F {home}/.ssh/config -oGlobalKnownHostsFile={home}/.ssh/known_hosts "$@"\n'


class UserHome:
    """The home folder `home` (Path), its .ssh (Path `ssh`), and programs `ssh` and `sftp` (in the folder
    `tools`) that take it for theirs.

    hosts: {name: address} that they know besides.
    """

    def __init__(self, home, hosts=()):
        self.home, self.ssh, self.tools = Path(home), Path(home) / ".ssh", Path(home) / "tools"
        self.ssh.mkdir(mode=0o700, exist_ok=True)
        self.tools.mkdir()
        accounts = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        for fields in accounts:
            if fields[2] == str(os.getuid()):
                fields[5] = str(home)
        (self.tools / "passwd").write_text("".join(":".join(fields) + "\n" for fields in accounts))
        more = "".join(f"{address} {name}\n" for name, address in dict(hosts).items())
        (self.tools / "hosts").write_text(Path("/etc/hosts").read_text() + more)
        for name, tool in TOOLS.items():
            script = self.tools / name
            script.write_text("#!/bin/sh\n"
                              + (OTHERS if os.getuid() else ROOT).format(
                                  home=home, folder=self.tools, tool=tool, name=name))
            script.chmod(0o755)

    def config(self, text):
        (self.ssh / "config").write_text(text)

    def trusts(self, *servers):
        """Put the host keys of servers (an Sshd, say) into the home's known_hosts."""
        with (self.ssh / "known_hosts").open("a") as file:
            for server in servers:
                file.write(server.known_hosts if isinstance(server.known_hosts, str)
                           else server.known_hosts.read_text())

    def sftp(self, host="gpu", seconds=60):
        """Run plain sftp, which asks nobody (CompletedProcess); status 0: it got in."""
        return subprocess.run([self.tools / "sftp", "-b", "-", host], input="pwd\n", capture_output=True,
                              text=True, errors="replace", timeout=seconds, cwd=self.home,
                              start_new_session=True)

    def connect(self, runicorn, host="gpu", ask=None, secrets=None, **changes):
        """Log in as we do; returns a Remote whose SFTP answered. runicorn: RUNICORN_HOME."""
        line = remote.connect(settings.checked({"host": host, **changes}), ask, secrets, runicorn)
        try:
            client = line.open_sftp()
            client.realpath(".")
            client.close()
        except BaseException:
            line.close()
            raise
        return line
