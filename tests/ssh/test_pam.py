"""Logins through PAM: passwords, codes, refusals and ageing accounts, each beside plain sftp that answers the
same questions."""

import shutil
import subprocess
import time

import pytest
from logins import User
from pam import PASSWORD, PASSWORDS, TODAY, PamSshd, askpass

from runicorn import settings
from runicorn.connections import doctor
from runicorn.errors import LineError, LoginError, RemoteError
from runicorn.ssh import remote

pytestmark = pytest.mark.chaos
SECRET = "JBSWY3DPEHPK3PXP"
CODES = "auth required pam_google_authenticator.so secret={folder}/code user=root no_increment_hotp {more}\n"
ACCOUNT = "account required pam_unix.so\nsession required pam_permit.so\npassword required pam_unix.so\n"
DENIED = ("auth required pam_unix.so\naccount required pam_exec.so quiet stdout {folder}/script\n"
          "session required pam_permit.so\n")
NO_JOBS = "Access denied by pam_slurm_adopt: you have no active jobs on this node!"
EXTERNAL = {"Subsystem": "sftp /usr/lib/openssh/sftp-server"}
ONLY_QUESTIONS = {"PasswordAuthentication": "no"}


class Site:
    """One set-up on its way: the server, plain sftp's answers and ours."""

    def __init__(self, folder, home, stack=PASSWORDS, script="", more="", **options):
        self.folder, self.home = folder, home
        folder.mkdir(exist_ok=True)
        (folder / "code").write_text(f'{SECRET}\n" RATE_LIMIT 30 30\n" TOTP_AUTH\n')
        (folder / "code").chmod(0o400)
        (folder / "script").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "script").chmod(0o755)
        self.server = PamSshd(stack.format(folder=folder, more=more), **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()

    def plain(self, auth, **answers):
        """Run plain sftp with the key, or with answers by a word of the question (CompletedProcess)."""
        environment, self.asked = askpass(self.folder, **answers)
        way = (["-i", str(self.server.key), "-oIdentitiesOnly=yes"] if auth == "key"
               else ["-oPubkeyAuthentication=no"])
        command = ["sftp", "-F", "none", f"-oUserKnownHostsFile={self.server.known_hosts}",
                   "-oNumberOfPasswordPrompts=1", *way, "-P", str(self.server.port), "pat@127.0.0.1"]
        return subprocess.run(command, input="pwd\n", capture_output=True, text=True, errors="replace",
                              timeout=100, env=environment, start_new_session=True)

    def ours(self, auth, user=None, **secrets):
        key = None if auth == "password" else str(self.server.key)
        connection = settings.checked(self.server.trusted_in(self.home).connection(auth=auth, key=key))
        line = remote.connect(connection, user, secrets, self.home)
        try:
            client = line.open_sftp()
            return client.realpath(".")
        finally:
            line.close()


def code():
    return subprocess.run(["oathtool", "--totp", "-b", SECRET], capture_output=True, text=True,
                          check=True).stdout.strip()


LOGINS = {
    "a password": ({}, "password", {}),
    "a password that PAM asks for": (ONLY_QUESTIONS, "password", {}),
    "a code, then the password": ({"stack": CODES + PASSWORDS, **ONLY_QUESTIONS}, "password", {"code": code}),
    "password and code in one answer":
    ({"stack": CODES + PASSWORDS.replace("pam_unix.so", "pam_unix.so use_first_pass", 1),
      "more": "forward_pass", **ONLY_QUESTIONS}, "password", {"code": lambda: PASSWORD + code()}),
    "the key, then a code": ({"stack": CODES + ACCOUNT,
                              "AuthenticationMethods": "publickey,keyboard-interactive"}, "key",
                             {"code": code}),
    "the key, then the password": ({"AuthenticationMethods": "publickey,password"}, "key", {}),
    "the key, then either": ({"AuthenticationMethods": "publickey,password publickey,keyboard-interactive"},
                             "key", {}),
    "a start of pages": ({"stack": "auth optional pam_exec.so stdout {folder}/script\n" + PASSWORDS,
                          "script": 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done'},
                         "password", {}),
}


@pytest.mark.parametrize("name", LOGINS)
def test_whoever_answers_sftp_gets_in_here(tmp_path, home, name):
    options, auth, answers = LOGINS[name]
    with Site(tmp_path / "site", home, **options) as site:
        answers = {word: answer() for word, answer in answers.items()}
        plain = site.plain(auth, **{**answers, "assword": PASSWORD})
        assert plain.returncode == 0 and str(site.server.home_of_pat) in plain.stdout, plain.stderr
        user = User(code=answers.get("code"), password=PASSWORD)
        assert site.ours(auth, user, **({"password": PASSWORD} if auth == "password" else {})) == str(
            site.server.home_of_pat)
        asked = site.asked.read_text().lower()
        assert ("code" in asked) == ("code" in answers) == (
            "code" in [question["kind"] for question in user.asked])


REFUSALS = {
    "no jobs on this node": ({"stack": DENIED, "script": f"echo '{NO_JOBS}'; exit 1"},
                             "no active jobs on this node"),
    "no jobs, said by pam_echo": (
        {"stack": "auth required pam_unix.so\naccount optional pam_echo.so you have no jobs here\n"
                  "account required pam_deny.so\nsession required pam_permit.so\n"}, "you have no jobs here"),
    "no jobs, below a banner of pages": ({"stack": DENIED, "script": f"seq 2000; echo '{NO_JOBS}'; exit 1"},
                                         "no active jobs on this node"),
    "an expired account": ({"aged": f"{TODAY}:0:99999:7::1:"}, "account has expired"),
    "an expired password": ({"aged": "0:0:99999:7:::"}, "wants a new password first"),
    "a password that aged": ({"aged": "15000:0:30:7:::"}, "wants a new password first"),
    "maintenance":
    ({"stack": "auth required pam_unix.so\naccount required pam_nologin.so file={folder}/script\n"
               "session required pam_permit.so\n", "script": "Down until Monday"}, None),
}


@pytest.mark.parametrize("auth", ["key", "system", "password"])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_in_the_words_of_the_server(tmp_path, home, name, auth):
    options, words = REFUSALS[name]
    with Site(tmp_path / "site", home, **options) as site:
        if words is None:
            words = "Down until Monday"
        assert site.plain("password" if auth == "password" else "key", assword=PASSWORD).returncode != 0
        with pytest.raises(LoginError, match=words) as caught:
            site.ours(auth, **({"password": PASSWORD} if auth == "password" else {}))
        assert len(str(caught.value)) < 1200


@pytest.mark.parametrize("auth", ["key", "system"])
def test_a_banner_of_pages_does_not_hide_the_refusal(tmp_path, home, auth):
    (tmp_path / "banner").write_text("*** Authorized use only. ***\n" * 200)
    with Site(tmp_path / "site", home, Banner=tmp_path / "banner", DenyUsers="*") as site:
        with pytest.raises(LoginError, match="Authorized use only") as caught:
            site.ours(auth)
        assert str(caught.value).count("Authorized") == 1 and len(str(caught.value)) < 1200


def test_a_password_after_the_key_is_not_for_system_ssh(tmp_path, home):
    with Site(tmp_path / "site", home, AuthenticationMethods="publickey,password") as site, \
            pytest.raises(LoginError,
                          match="asks you for a password or a code, set the connection to key or password"):
        site.ours("system")


SHELLS = {
    "nologin": ({"shell": "/usr/sbin/nologin"}, ""),
    "nologin, external": ({"shell": "/usr/sbin/nologin", **EXTERNAL}, ""),
    "rbash, external": ({"shell": "/bin/rbash", **EXTERNAL}, ""),
    "fish, external": ({"shell": "/usr/bin/fish", **EXTERNAL}, ""),
    "tcsh, external": ({"shell": "/usr/bin/tcsh", **EXTERNAL}, ""),
    "mksh, external": ({"shell": "/usr/bin/mksh", **EXTERNAL}, ""),
    "ksh, external": ({"shell": "/usr/bin/ksh", **EXTERNAL}, ""),
    "elvish, external": ({"shell": "/usr/bin/elvish", **EXTERNAL}, ""),
    "python": ({"shell": "/usr/bin/python3"}, ""), "cat": ({"shell": "/bin/cat"}, ""),
    "missing": ({"shell": "/nowhere"}, ""), ".bashrc prints": ({}, "echo hello"),
    ".bashrc prints, external": (EXTERNAL, "echo hello"),
    ".bashrc is fish": ({}, "exec fish"), ".bashrc is zsh -l": ({}, "exec zsh -l"),
    ".bashrc exits, external": (EXTERNAL, "exit 1"),
    ".bashrc reads": ({}, "read line"), ".bashrc attaches": ({}, "exec tmux attach"),
    ".bashrc hangs": ({}, "sleep 300"),
    "chroot": ({"ChrootDirectory": "/", "ForceCommand": "internal-sftp"}, ""),
    "ForceCommand": ({"ForceCommand": "internal-sftp"}, ""),
}


@pytest.mark.parametrize("auth", ["key", "system"])
@pytest.mark.parametrize("name", SHELLS)
def test_a_login_shell_is_as_good_for_us_as_for_sftp(tmp_path, home, name, auth):
    options, start = SHELLS[name]
    with Site(tmp_path / "site", home, **{"SetEnv": "A=b", **options}) as site:
        (site.server.home_of_pat / ".bashrc").write_text(start + "\n")
        plain, lines = site.plain("key"), []
        connection = settings.checked(site.server.trusted_in(home).connection(auth=auth))
        result = doctor.examine(connection, lines.append, home=home)
        assert result["ok"] == (plain.returncode == 0), (plain.stderr, lines)
        told = {line["name"]: line for line in lines}
        if result["ok"]:
            assert told["exec"]["ok"] in (True, None)
            assert told["sftp"]["text"] == f"starts in {site.server.home_of_pat}"
        else:
            assert lines[-1]["ok"] is False and len(lines[-1]["text"]) > 20


@pytest.mark.parametrize("auth, message",
                         [("key", "SFTP did not begin within 3 s: a login shell"),
                          ("system", "ssh brought no SFTP")])
def test_an_sftp_that_waits_for_the_login_shell_says_so(tmp_path, home, auth, message, monkeypatch):
    monkeypatch.setattr("runicorn.ssh.remote.SFTP_SECONDS", 3)
    monkeypatch.setattr("runicorn.ssh.system_remote.LOGIN_SECONDS", 3)
    monkeypatch.setattr("runicorn.ssh.system_remote.CONNECT_SECONDS", 2)
    with Site(tmp_path / "site", home, **{"SetEnv": "A=b", **EXTERNAL}) as site:
        (site.server.home_of_pat / ".bashrc").write_text("sleep 300\n")
        connection = settings.checked(site.server.trusted_in(home).connection(auth=auth))
        with pytest.raises(LineError, match=message):
            remote.connect(connection, home=home).open_sftp(timeout=3)


@pytest.mark.parametrize("auth", ["key", "system"])
def test_a_directory_service_that_takes_its_time(tmp_path, home, auth):
    with Site(tmp_path / "site", home, DENIED, "sleep 33") as site:
        began = time.monotonic()
        assert site.ours(auth) == str(site.server.home_of_pat) and time.monotonic() - began > 33


@pytest.mark.parametrize("state", ["missing", "a link"])
def test_a_home_folder_that_is(tmp_path, home, state):
    with Site(tmp_path / "site", home) as site:
        own = site.server.home_of_pat
        if state == "a link":
            own.rename(tmp_path / "elsewhere")
            own.symlink_to(tmp_path / "elsewhere")
        else:
            shutil.rmtree(own)
        plain = site.plain("key")
        assert plain.returncode == 0 and plain.stdout.strip().endswith(site.ours("key"))


def test_a_server_out_of_patience_was_cut_and_no_refusal(tmp_path, home):
    with Site(tmp_path / "site", home, DENIED, "sleep 30", LoginGraceTime=3) as site:
        assert site.plain("key").returncode != 0
        for auth in ("key", "system"):
            with pytest.raises(RemoteError) as caught:
                site.ours(auth)
            assert isinstance(caught.value, LineError), caught.value
