"""Keys, agents, certificates and server settings as people have them: where plain sftp gets in we get in;
else the sentence helps."""

import base64
import getpass
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from logins import agent  # noqa: F401 (fixture)
from ssh_users import user  # noqa: F401 (fixture)
from sshd import Sshd, make_key

from runicorn.errors import RunicornError

ME = getpass.getuser()
CHAOS = pytest.mark.chaos
TOKEN = Path("/usr/lib/softhsm/libsofthsm2.so")


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True,
                          **options).stdout


class Desk:
    """What a set-up may use: the user's home, the server, an agent; `config` writes ~/.ssh/config."""

    def __init__(self, user, server, add):
        self.user, self.server, self.add, self.ssh = user, server, add, user.ssh

    def config(self, *lines, key=True):
        usual = ["Host gpu", "HostName 127.0.0.1", f"Port {self.server.port}", f"User {ME}"]
        self.user.config("\n  ".join([*usual, *([f"IdentityFile {self.server.key}"] if key else []), *lines])
                         + "\n")

    def others(self, count):
        return [make_key(self.ssh / f"other{number}") for number in range(count)]

    def allow(self, public):
        with (self.server.folder / "authorized_keys").open("a") as file:
            file.write(public)


def many_keys_in_the_agent(desk):
    desk.config()
    for key in [*desk.others(12), desk.server.key]:
        desk.add(key)


def named_third(desk):
    desk.config(*(f"IdentityFile {key}" for key in [*desk.others(2), desk.server.key]), key=False)


def named_second(desk):
    desk.config(*(f"IdentityFile {key}" for key in [*desk.others(1), desk.server.key]), key=False)


def two_keys(desk):
    second = make_key(desk.ssh / "second")
    desk.config(f"IdentityFile {second}")
    desk.allow(second.with_suffix(".pub").read_text())


def certified(desk, key_in="file"):
    authority, key = make_key(desk.ssh / "authority"), make_key(desk.ssh / "mine")
    run("ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", ME, f"{key}.pub")
    (desk.server.folder / "authorities").write_text((desk.ssh / "authority.pub").read_text())
    (desk.ssh / "mine-cert.pub").rename(desk.ssh / "elsewhere.pub")
    desk.config(f"CertificateFile {desk.ssh / 'elsewhere.pub'}",
                *([f"IdentityFile {key}"] if key_in == "file" else []), key=False)
    if key_in == "agent":
        desk.add(key)
        key.rename(desk.ssh / "gone")


def fido(name):
    def prepare(desk):
        parts = b"sk-ssh-ed25519@openssh.com", b"a" * 32, b"ssh:"
        blob = base64.b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()
        (desk.ssh / f"{name}.pub").write_text(f"sk-ssh-ed25519@openssh.com {blob} me\n")
        line = "-----{} OPENSSH PRIVATE KEY-----\n"
        (desk.ssh / name).write_text(
            f"{line.format('BEGIN')}b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n{line.format('END')}")
        (desk.ssh / name).chmod(0o600)
        desk.config(*([f"IdentityFile {desk.ssh / name}"] if name == "mine" else []), key=False)
    return prepare


def smart_card(desk):
    (desk.ssh / "tokens").mkdir()
    settings = desk.user.home / ".config" / "softhsm2" / "softhsm2.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"directories.tokendir = {desk.ssh / 'tokens'}\nobjectstore.backend = file\n")
    run("softhsm2-util", "--init-token", "--free", "--label", "t", "--pin", "1234", "--so-pin", "1234")
    run("pkcs11-tool", "--module", TOKEN, "-l", "--pin", "1234", "--token-label", "t", "--keypairgen",
        "--key-type", "rsa:2048", "--id", 1)
    desk.allow(run("ssh-keygen", "-D", TOKEN))
    desk.config(f"PKCS11Provider {TOKEN}", key=False)


def smart_card_in_the_agent(desk):
    smart_card(desk)
    desk.config(key=False)
    (desk.ssh / "pin").write_text("#!/bin/sh\necho 1234\n")
    (desk.ssh / "pin").chmod(0o700)
    asking = {"SSH_ASKPASS": str(desk.ssh / "pin"), "SSH_ASKPASS_REQUIRE": "force"}
    run("ssh-add", "-s", TOKEN, env={**os.environ, **asking}, start_new_session=True)


def putty(desk):
    run("puttygen", desk.server.key, "-o", desk.ssh / "mine.ppk", "-O", "private")
    desk.config(f"IdentityFile {desk.ssh / 'mine.ppk'}", key=False)


def host_certificate(principals, pattern, alias=None, *options):
    def prepare(desk):
        authority, server = make_key(desk.ssh / "authority"), desk.server
        run("ssh-keygen", "-q", "-s", authority, "-I", "h", "-h", *(["-n", principals] if principals else []),
            *options, server.host_key)
        with (server.folder / "sshd_config").open("a") as file:
            file.write(f"HostCertificate {server.folder / 'host_key-cert.pub'}\n")
        server.restart()
        public = (desk.ssh / "authority.pub").read_text()
        (desk.ssh / "known_hosts").write_text(f"@cert-authority {pattern.format(port=server.port)} {public}")
        desk.config(*([f"HostKeyAlias {alias}"] if alias else []))
    return prepare


CERTIFIED = {"TrustedUserCAKeys": "{folder}/authorities", "AuthorizedKeysFile": "none"}
SYSTEM = "auth: system"
# name: (preparation, sshd's options, ways, what our sentence holds where plain sftp gets in and paramiko does
# not, or where neither does)
ROWS = {
    "12 others in the agent, the right one named": (many_keys_in_the_agent, {}, ("key", "agent", "system"),
                                                    None),
    "third of three, MaxAuthTries 2": (named_third, {"MaxAuthTries": 2}, ("key", "system"), "right"),
    "second of two, MaxAuthTries 2": (named_second, {"MaxAuthTries": 2}, ("key", "system"), None),
    "MaxAuthTries 1": (Desk.config, {"MaxAuthTries": 1}, ("key", "system"), None),
    "two keys wanted": (two_keys, {"AuthenticationMethods": "publickey,publickey"}, ("key", "system"), None),
    "CertificateFile": (certified, CERTIFIED, ("key", "system"), None),
    "CertificateFile, the key in the agent alone": (lambda desk: certified(desk, "agent"), CERTIFIED,
                                                    ("key", "agent", "system"), None),
    "a FIDO key": (fido("mine"), {}, ("key",), SYSTEM),
    "the usual FIDO key": (fido("id_ed25519_sk"), {}, ("key",), SYSTEM),
    "a smart card": (smart_card, {}, ("key",), "ssh-add -s"),
    "a smart card in the agent": (smart_card_in_the_agent, {}, ("key", "agent", "system"), None),
    "a PuTTY key": (putty, {}, ("key",), "export it as OpenSSH key"),
    "Kerberos alone": (Desk.config, {"PubkeyAuthentication": "no", "GSSAPIAuthentication": "yes"},
                       ("key", "agent"), SYSTEM),
    "host-based alone": (Desk.config, {"PubkeyAuthentication": "no", "HostbasedAuthentication": "yes"},
                         ("key",), SYSTEM),
    "chacha20 alone": (Desk.config, {"Ciphers": "chacha20-poly1305@openssh.com"}, ("key", "system"), SYSTEM),
    "sntrup alone": (Desk.config, {"KexAlgorithms": "sntrup761x25519-sha512@openssh.com"}, ("key", "system"),
                     SYSTEM),
    "umac alone": (Desk.config, {"MACs": "umac-128-etm@openssh.com", "Ciphers": "aes256-ctr"},
                   ("key", "system"), SYSTEM),
    "MaxSessions 1": (Desk.config, {"MaxSessions": 1}, ("key", "system"), None),
    "MaxStartups 2": (Desk.config, {"MaxStartups": 2}, ("key", "system"), None),
    "no forwarding": (Desk.config, {"DisableForwarding": "yes"}, ("key", "system"), None),
    "UseDNS": (Desk.config, {"UseDNS": "yes"}, ("key", "system"), None),
    "host certificate, its address": (host_certificate("127.0.0.1", "*"), {}, ("key", "system"), None),
    "host certificate, for [address]:port": (host_certificate("127.0.0.1", "[127.0.0.1]:{port}"), {},
                                             ("key", "system"), None),
    "host certificate for anybody": (host_certificate("", "127.*"), {}, ("key", "system"), None),
    "host certificate for another": (host_certificate("other", "*"), {}, ("key", "system"), "not know"),
    "host certificate, by its alias": (host_certificate("node.cluster", "*.cluster", "node.cluster"), {},
                                       ("key", "system"), None),
    "host certificate for a pattern": (host_certificate("*.cluster", "*.cluster", "node.cluster"), {},
                                       ("key", "system"), "not know"),
    "host certificate that is over": (host_certificate("127.0.0.1", "*", None, "-V", "20200101:20210101"), {},
                                      ("key", "system"), "not know"),
}
USUAL = ("third of three, MaxAuthTries 2", "CertificateFile, the key in the agent alone", "a FIDO key",
         "Kerberos alone", "host certificate for a pattern")


@pytest.mark.few(2)
@pytest.mark.parametrize("name",
                         [name if name in USUAL else pytest.param(name, marks=CHAOS) for name in ROWS])
def test_where_sftp_gets_in_we_get_in(tmp_path, user, home, agent, name):
    prepare, options, ways, words = ROWS[name]
    folder = tmp_path / "sshd"
    folder.mkdir()
    (folder / "authorities").write_text("")
    with Sshd(folder,
              **{keyword: str(value).format(folder=folder) for keyword, value in options.items()}) as server:
        user.trusts(server)
        prepare(Desk(user, server, agent))
        server.restart()
        plain = user.sftp()
        assert plain.returncode == 0 or words, plain.stderr
        for auth in ways:
            if plain.returncode == 0 and (auth == "system" or not words):
                user.connect(home, auth=auth).close()
            else:
                with pytest.raises(RunicornError, match=words):
                    user.connect(home, auth=auth)


@pytest.mark.few("client")
@pytest.mark.parametrize("where", ["server", "client"])
def test_keys_renewed_at_every_megabyte(tmp_path, user, home, where):
    (tmp_path / "data").write_bytes(os.urandom(8 << 20))
    with Sshd(tmp_path / "sshd", **({"RekeyLimit": "1M"} if where == "server" else {}),
              ClientAliveInterval=1) as server:
        user.trusts(server)
        user.config(f"Host gpu\n  HostName 127.0.0.1\n  Port {server.port}\n  IdentityFile {server.key}\n"
                    "  RekeyLimit 1M\n")
        for auth in ("key", "system"):
            line = user.connect(home, auth=auth)
            assert line.open_sftp().parts([(str(tmp_path / "data"), 0, 8 << 20)]) == [
                (tmp_path / "data").read_bytes()]
            line.close()


def test_a_pasted_key_is_read_though_ssh_wants_its_last_line(tmp_path, user, home, sshd):
    """Kinder than ssh: the end of the last line is lost by copying, and CR comes by way of Windows."""
    user.trusts(sshd)
    for data in (Path(sshd.key).read_bytes().rstrip(), Path(sshd.key).read_bytes().replace(b"\n", b"\r\n")):
        key = user.ssh / "pasted"
        key.write_bytes(data)
        key.chmod(0o600)
        user.connect(home, host="127.0.0.1", port=sshd.port, user=ME,
                     key=str(shutil.copy(key, user.ssh / "copy"))).close()
