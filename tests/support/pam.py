"""An sshd whose logins go through PAM, with a stack, a password file and a shadow file of its own that nobody
else sees. Needs root."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sshd import SSHD, Sshd

USER, PASSWORD, UID = "pat", "open sesame", 47110
TODAY = 20000               # days since 1970 of a password that was set lately, as shadow(5) counts
PASSWORDS = ("auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
             "password required pam_unix.so\n")
ASKPASS = '#!/bin/sh\necho "$1" >> {log}\ncase "$1" in\n{cases}*) exit 1;;\nesac\n'


class PamSshd(Sshd):
    """As Sshd, for the user `pat`, whose password is `PASSWORD`; in a folder of its own that pat may enter (a
    test's is ours alone).

    stack: the text of /etc/pam.d/sshd. aged: the fields of shadow(5) after the password. shell: the login
    shell.
    """

    def __init__(self, stack=PASSWORDS, aged=f"{TODAY}:0:99999:7:::", shell="/bin/bash", **config):
        folder = Path(tempfile.mkdtemp(prefix="sshd-of-pat-"))
        folder.chmod(0o755)
        self.home_of_pat = folder / "pat"
        self.home_of_pat.mkdir(mode=0o755)
        os.chown(self.home_of_pat, UID, UID)
        hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True,
                                check=True).stdout.strip()
        files = {"passwd": f"{USER}:x:{UID}:{UID}::{self.home_of_pat}:{shell}\n",
                 "group": f"{USER}:x:{UID}:\n", "shadow": f"{USER}:{hashed}:{aged}\n"}
        for name, line in files.items():
            (folder / name).write_text(line + Path("/etc", name).read_text())
            (folder / name).chmod(0o600 if name == "shadow" else 0o644)
        (folder / "stack").write_text(stack)
        mounts = "".join(f"mount --bind {folder / name} /etc/{place} && "
                         for name, place in {**{name: name for name in files}, "stack": "pam.d/sshd"}.items())
        self._inside = ["unshare", "-m", "sh", "-c", f'{mounts}exec "$0" "$@"']
        super().__init__(folder,
                         **{"UsePAM": "yes", "PasswordAuthentication": "yes",
                            "KbdInteractiveAuthentication": "yes", **config})
        self.user = USER

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder)

    def command(self):
        return [*self._inside, SSHD, *super().command()[1:]]


def askpass(folder, **answers):
    """Return the environment in which plain ssh answers prompts by a word in them, and the list of what it
    was asked (a Path)."""
    cases = "".join(f'*{word}*) echo "{answer}";;\n' for word, answer in answers.items())
    script, log = folder / "askpass", folder / "asked"
    script.write_text(ASKPASS.format(log=log, cases=cases))
    script.chmod(0o755)
    return {**os.environ, "SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}, log
