"""What a server says when it turns somebody away stands in our sentence, and a refusal is a refusal: not
tried again by itself."""

import shutil
import subprocess
import sys

import paramiko
import pytest
from asking import AskingServer
from logins import (
    User,
    agent,  # noqa: F401 (fixture)
    connect,
)
from sshd import Sshd, make_key

from runicorn import settings
from runicorn.errors import LineError, LoginError, RemoteError
from runicorn.ssh import remote


def ssh(server, home, *words, **options):
    """Return what the system's ssh says at the same server (CompletedProcess)."""
    given = [f"-o{name}={value}"
             for name, value in {"BatchMode": "yes", "StrictHostKeyChecking": "no",
                                 "UserKnownHostsFile": "/dev/null", "IdentitiesOnly": "yes",
                                 "LogLevel": "ERROR", **options}.items()]
    return subprocess.run(["ssh", "-F", "none", *given, "-i", str(server.key), "-p", str(server.port),
                           f"{server.user}@127.0.0.1", *words],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.few(2)
@pytest.mark.parametrize("banner", [
    "no active jobs on this node", "Your account has expired; please contact your system administrator",
    "Down for maintenance until Monday 8:00\nsee https://status.example.com", "Not allowed at this time"])
def test_a_refusal_with_words_is_a_refusal_in_those_words(tmp_path, home, banner):
    (tmp_path / "banner").write_text(banner + "\n")
    with Sshd(tmp_path / "sshd", Banner=tmp_path / "banner", DenyUsers="*") as server:
        assert ssh(server, home, "true").returncode == 255
        with pytest.raises(LoginError) as caught:
            connect(server, home)
    assert " ".join(banner.split()) in str(caught.value)
    assert caught.value.values["words"] == " ".join(banner.split())
    assert caught.value.values["said"] in ("login_refused_words", "login_over_words")


@pytest.mark.parametrize("how, words",
                         [("disconnect", "account is locked: ask the help desk"),
                          ("banner", "no active jobs on this node")])
def test_a_server_that_hangs_up_with_words_has_refused(home, how, words):
    with AskingServer() as server:
        server.parting = how, words
        with pytest.raises(LoginError, match=words):
            connect(server, home, None, {"password": "open sesame"})
        assert server.connections == 1


def test_a_server_that_hangs_up_without_a_word_may_have_been_cut(home):
    with AskingServer() as server:
        server.parting = "silent", ""
        with pytest.raises(LineError, match="cut during the login"):
            connect(server, home, None, {"password": "open sesame"})


def test_a_banner_that_everybody_gets_does_not_make_a_cut_line_a_refusal(home):
    with AskingServer() as server:
        server.banner, server.parting = "Authorized users only", ("silent", "")
        with pytest.raises(LineError, match="cut during the login; the server says: Authorized users only"):
            connect(server, home, None, {"password": "open sesame"})


def test_a_way_that_is_not_taken_names_the_others(home, tmp_path):
    with AskingServer() as server, pytest.raises(LoginError, match="--auth key, agent, password or system"):
        connect(server, home, auth="key", key=str(make_key(tmp_path / "key")))


# -- servers that hang up at a second service request --------------------------------------------------------

SERVE = """
import asyncio, asyncssh, sys
class Server(asyncssh.SSHServer):
    def password_auth_supported(self): return True
    def validate_password(self, username, password): return password == "open sesame"
async def serve():
    listener = await asyncssh.create_server(Server, "127.0.0.1", 0, server_host_keys=[sys.argv[1]],
                                            authorized_client_keys=sys.argv[2], sftp_factory=True)
    print(listener.get_port(), flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


class AsyncServer:
    """AsyncSSH's server with SFTP, in a process of its own."""

    def __init__(self, folder, key):
        folder.mkdir(exist_ok=True)
        self.user, self.key, self._folder = "alice", key, folder
        words = [sys.executable, "-c", SERVE, str(make_key(folder / "host")), f"{key}.pub"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self._process.stdout.readline())

    def connection(self, **changes):
        return {"host": "127.0.0.1", "port": self.port, "user": self.user, "auth": "key",
                "key": str(self.key), **changes}

    def trusted_in(self, home):
        home.mkdir(parents=True, exist_ok=True)
        (home / "known_hosts").write_text(
            f"[127.0.0.1]:{self.port} {' '.join((self._folder / 'host.pub').read_text().split()[:2])}\n")
        return self

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.mark.few(1)
@pytest.mark.parametrize("way", [{}, {"auth": "password", "key": None}], ids=["key", "password"])
def test_a_server_that_takes_one_service_request(tmp_path, home, way):
    server = AsyncServer(tmp_path / "async", make_key(tmp_path / "mine"))
    try:
        line = connect(server, home, None, {"password": "open sesame"}, **way)
        client = line.open_sftp()
        assert client.realpath(".")
        line.second().close()
        line.close()
        if not way:
            assert "sftp" in subprocess.run(["sftp", "-q", "-b", "-", "-F", "none",
                                             "-oStrictHostKeyChecking=no", "-oIdentitiesOnly=yes",
                                             "-oUserKnownHostsFile=/dev/null", "-i", str(server.key), "-P",
                                             str(server.port), "alice@127.0.0.1"], input="pwd\n",
                                            capture_output=True, text=True, timeout=60).stdout
    finally:
        server.stop()


# -- keys ----------------------------------------------------------------------------------------------------

@pytest.mark.few(3)
@pytest.mark.parametrize("named", ["beside the key", "CertificateFile"])
@pytest.mark.parametrize("private", ["file", "encrypted, in the agent", "agent only"])
def test_a_certificate_with_a_key_wherever_it_lives(tmp_path, home, agent, named, private):
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "mine")
    with Sshd(tmp_path / "sshd", TrustedUserCAKeys=f"{authority}.pub", AuthorizedKeysFile="none") as server:
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", server.user, f"{key}.pub"]
        subprocess.run(sign, check=True, capture_output=True)
        if private != "file":
            agent(key)          # ssh-add loads the certificate beside it as well
            subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True)
            certificate = tmp_path / "mine-cert.pub"
            hidden = certificate.rename(tmp_path / "hidden")
            agent(key)          # the plain key alone
            hidden.rename(certificate)
        if private == "encrypted, in the agent":
            subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret words", "-P", "", "-f", str(key)],
                           check=True, capture_output=True)
        if private == "agent only":
            key.unlink()
        config = f"Host *\n  IdentityFile {key}\n"
        if named == "CertificateFile":
            shutil.move(tmp_path / "mine-cert.pub", tmp_path / "elsewhere.pub")
            config += f"  CertificateFile {tmp_path / 'elsewhere.pub'}\n"
        (home.parent / ".ssh").mkdir(exist_ok=True)
        (home.parent / ".ssh" / "config").write_text(config)
        connect(server, home, key=None).close()


def test_with_many_keys_in_the_agent_the_sixth_is_offered_too(tmp_path, home, agent):
    with Sshd(tmp_path / "sshd", MaxAuthTries=20) as server:
        for number in range(9):
            agent(make_key(tmp_path / f"other{number}"))
        agent(server.key)
        connect(server, home, auth="agent", key=None).close()


def test_a_public_half_chosen_for_a_connection_selects_the_agents_key(tmp_path, home, agent, sshd):
    for number in range(8):
        agent(make_key(tmp_path / f"other{number}"))
    agent(sshd.key)
    connect(sshd, home, key=f"{sshd.key}.pub").close()


# -- host keys, algorithms -----------------------------------------------------------------------------------

def test_a_host_known_at_port_22_is_known_at_another_port_with_the_same_key(sshd, home):
    key = " ".join(sshd.host_key.read_text().split()[:2])
    home.mkdir(parents=True)
    (home / "known_hosts").write_text(f"127.0.0.1 {key}\n")
    asked = []
    remote.connect(settings.checked(sshd.connection()), asked.append, {}, home).close()
    assert asked == []
    other = " ".join((make_key(home / "other").with_suffix(".pub")).read_text().split()[:2])
    (home / "known_hosts").write_text(f"127.0.0.1 {other}\n")
    user = User(host_key="yes")
    remote.connect(settings.checked(sshd.connection()), user, {}, home).close()
    assert [question["kind"]
            for question in user.asked] == ["host_key"], "another key at port 22 says nothing of this port"


@pytest.mark.few(1)
@pytest.mark.parametrize("option",
                         [{"Ciphers": "chacha20-poly1305@openssh.com"},
                          {"KexAlgorithms": "sntrup761x25519-sha512@openssh.com"}])
def test_a_server_newer_than_paramiko_is_not_called_old_and_system_ssh_gets_in(tmp_path, home, option):
    with Sshd(tmp_path / "sshd", **option) as server:
        try:
            connect(server, home).close()
            pytest.fail(f"paramiko {paramiko.__version__} speaks {option}: find another")
        except RemoteError as error:
            assert "auth: system" in str(error) and "SHA-1" not in str(error)
            assert "old server" not in str(error)
        line = connect(server, home, auth="system")
        assert line.open_sftp().realpath(".")
        line.close()
