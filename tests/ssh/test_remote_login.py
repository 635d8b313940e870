"""Every way of getting in: passphrases, agent, password, the server's questions, several methods in a row.
Each refused way once."""

import os
import random
import shutil
import subprocess
import sys

import pytest
from asking import AskingServer
from line import Line
from logins import (
    User,
    agent,  # noqa: F401 (fixture)
    connect,
)
from sshd import Sshd, make_key

from runicorn import settings
from runicorn.errors import LineError, LoginError, MissingPackageError
from runicorn.ssh import remote

# -- keys

@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_kind_of_key_with_a_passphrase(sshd, home, tmp_path, kind):
    key = make_key(tmp_path / "locked", "correct horse", kind)
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write((tmp_path / "locked.pub").read_text())
    user, secrets = User(passphrase="correct horse"), {}
    connect(sshd, home, user, secrets, key=str(key)).close()
    assert user.asked[0]["kind"] == "passphrase" and str(key) in user.asked[0]["prompt"]
    assert user.asked[0]["echo"] is False
    line = connect(sshd, home, None, secrets, key=str(key))      # kept in memory: nobody is asked again
    line.second().close()
    line.close()


def test_a_wrong_passphrase_is_told_and_forgotten(sshd, home, tmp_path):
    key, secrets = make_key(tmp_path / "locked", "correct horse"), {"passphrase": "donkey"}
    with pytest.raises(LoginError, match="passphrase does not open") as caught:
        connect(sshd, home, None, secrets, key=str(key))
    assert secrets == {} and caught.value.code == "passphrase" and "donkey" not in str(caught.value)


@pytest.mark.parametrize("content, code",
                         [(None, "key_missing"), ("", "key_format"),
                          ("PuTTY-User-Key-File-3: x\n", "key_format")])
def test_a_key_that_is_none(sshd, home, tmp_path, content, code):
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    with pytest.raises(LoginError, match=str(key)) as caught:
        connect(sshd, home, key=str(key))
    assert caught.value.code == code


@pytest.mark.few(1)
@pytest.mark.parametrize("saved", [
    lambda text: b"\xef\xbb\xbf" + text, lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    lambda text: b"\xff\xfe" + text.decode().replace("\n", "\r\n").encode("utf-16-le")])
@pytest.mark.parametrize("form", ["openssh", "PEM", "PKCS8"])
def test_a_key_that_notepad_or_powershell_saved(sshd, home, tmp_path, saved, form):
    """ssh itself reads some of these; a person who pasted a key there can't see the difference."""
    key = tmp_path / "saved"
    make_key(key, kind="rsa")
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())
    if form != "openssh":
        subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(key), "-m", form, "-P", "", "-N", ""], check=True,
                       capture_output=True)
    key.write_bytes(saved(key.read_bytes()))
    connect(sshd, home, key=str(key)).close()
    key.write_bytes(saved(b"PuTTY-User-Key-File-3: x\n"))
    with pytest.raises(LoginError, match="PuTTY"):
        connect(sshd, home, key=str(key))


def test_the_public_half_is_told_from_the_private(sshd, home):
    with pytest.raises(LoginError, match="public half"):
        connect(sshd, home, key=f"{sshd.key}.pub")


def test_no_key_named_means_the_usual_ones(sshd, home):
    with pytest.raises(LoginError, match="no key in ~/.ssh"):
        connect(sshd, home, key=None)
    (home.parent / ".ssh").mkdir()
    shutil.copy(sshd.key, home.parent / ".ssh" / "id_ed25519")
    connect(sshd, home, key=None).close()


def test_of_several_keys_in_the_ssh_config_one_may_be_of_a_strange_kind(sshd, home, tmp_path):
    (tmp_path / "id_fido").write_text(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nnot for us\n-----END OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "id_fido").chmod(0o600)
    (home.parent / ".ssh").mkdir()
    config = home.parent / ".ssh" / "config"
    config.write_text(f"Host *\n  IdentityFile {tmp_path / 'id_fido'}\n  IdentityFile {sshd.key}\n")
    connect(sshd, home, key=None).close()
    config.write_text(f"Host *\n  IdentityFile {tmp_path / 'id_fido'}\n")
    with pytest.raises(LoginError, match="of no kind we know"):
        connect(sshd, home, key=None)


def test_a_key_with_a_certificate(tmp_path, home):
    authority = make_key(tmp_path / "authority")
    with Sshd(tmp_path / "sshd", TrustedUserCAKeys=f"{authority}.pub") as server:
        key = make_key(tmp_path / "mine")
        with pytest.raises(LoginError):
            connect(server, home, key=str(key))
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", server.user, f"{key}.pub"]
        subprocess.run(sign, check=True, capture_output=True)
        connect(server, home, key=str(key)).close()


# -- agent

def test_an_agent(sshd, home, agent):
    with pytest.raises(LoginError, match="ssh-add"):
        connect(sshd, home, auth="agent", key=None)
    agent(sshd.key)
    connect(sshd, home, auth="agent", key=None).close()


def test_no_key_file_at_all_but_an_agent(sshd, home, agent):
    agent(sshd.key)
    connect(sshd, home, key=None).close()


def test_an_agent_that_the_ssh_config_names(sshd, home, agent, monkeypatch):
    agent(sshd.key)
    socket = os.environ["SSH_AUTH_SOCK"]
    monkeypatch.delenv("SSH_AUTH_SOCK")
    (home.parent / ".ssh").mkdir()
    for named in (socket, "$OWN_AGENT", "~/agent.sock"):
        monkeypatch.setenv("OWN_AGENT", socket)
        (home.parent / "agent.sock").is_symlink() or (home.parent / "agent.sock").symlink_to(socket)
        (home.parent / ".ssh" / "config").write_text(f"Host *\n  IdentityAgent {named}\n")
        connect(sshd, home, auth="agent", key=None).close()
    (home.parent / ".ssh" / "config").write_text("Host *\n  IdentityAgent none\n")
    with pytest.raises(LoginError, match="no SSH agent"):
        connect(sshd, home, auth="agent", key=None)


def test_without_an_agent_it_says_how_to_start_one(sshd, home):
    with pytest.raises(LoginError, match="no SSH agent"):
        connect(sshd, home, auth="agent", key=None)


def test_identities_only_picks_the_agents_key(sshd, home, agent, tmp_path):
    for number in range(7):         # more than sshd tries: the right one must come first
        agent(make_key(tmp_path / f"other{number}"))
    agent(sshd.key)
    with pytest.raises(LoginError, match="refused"):
        connect(sshd, home, auth="agent", key=None)
    ssh = home.parent / ".ssh"
    ssh.mkdir()
    (ssh / "config").write_text(f"Host 127.0.0.1\n  IdentitiesOnly yes\n  IdentityFile {sshd.key}\n")
    connect(sshd, home, auth="agent", key=None).close()


def test_a_locked_key_that_the_agent_holds_needs_no_passphrase(sshd, home, agent, tmp_path):
    agent(sshd.key)
    locked = tmp_path / "copy"
    shutil.copy(sshd.key, locked)
    shutil.copy(f"{sshd.key}.pub", f"{locked}.pub")
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret words", "-P", "", "-f", str(locked)], check=True,
                   capture_output=True)
    connect(sshd, home, key=str(locked)).close()


# -- password and questions

def test_a_password_from_memory_or_from_the_user(home):
    with AskingServer() as server:
        connect(server, home, None, {"password": "open sesame"}).close()
        user, secrets = User(password="open sesame"), {}
        line = connect(server, home, user, secrets)
        assert [question["kind"] for question in user.asked] == ["password"]
        assert secrets == {"password": "open sesame"}
        line.second().close()
        line.close()
        assert server.attempts == ["password"] * 3


def test_a_wrong_password_is_sent_exactly_once_and_forgotten(home):
    with AskingServer() as server:
        secrets = {"password": "wrong guess"}
        with pytest.raises(LoginError, match="tried: password") as caught:
            connect(server, home, None, secrets)
        assert server.attempts == ["password"] and server.connections == 1
        assert secrets == {} and "wrong guess" not in str(caught.value)


def test_nobody_answers(home):
    with AskingServer() as server:
        with pytest.raises(LoginError, match="nobody gave one"):
            connect(server, home, lambda question: None)
        assert server.attempts == []


def test_each_prompt_is_relayed_as_the_server_sent_it(home):
    prompts = [("Password: ", False, "open sesame"), ("One-time code: ", True, "123456")]
    with AskingServer(["keyboard-interactive"], prompts=prompts) as server:
        user = User(code="123456")
        line = connect(server, home, user, {"password": "open sesame"})
        question, = user.asked
        assert question["prompt"].splitlines() == ["Second factor", "for alice", "One-time code:"]
        assert question["echo"] is True
        assert line.interactive
        with pytest.raises(LoginError, match="one line only"):
            line.second()
        assert server.connections == 1
        line.close()


def test_a_password_asked_by_the_server_alone_needs_no_question(home):
    with AskingServer(["keyboard-interactive"], prompts=[("Password: ", False, "open sesame")]) as server:
        line = connect(server, home, None, {"password": "open sesame"})
        line.second().close()
        line.close()


def test_a_wrong_code_ends_the_login(home):
    with AskingServer(["keyboard-interactive"], prompts=[("Code: ", False, "123456")]) as server:
        with pytest.raises(LoginError, match="keyboard-interactive"):
            connect(server, home, User(code="000000"))
        assert server.attempts == ["keyboard-interactive"]


def test_a_prompt_nobody_answers(home):
    with AskingServer(["keyboard-interactive"], prompts=[("Code: ", False, "123456")]) as server:
        with pytest.raises(LoginError) as caught:
            connect(server, home, lambda question: None)
        assert caught.value.code == "no_answer" and server.attempts == []


def test_key_then_code(home, tmp_path):
    key = make_key(tmp_path / "key")
    blob = (tmp_path / "key.pub").read_text().split()[1]
    with AskingServer(["publickey", "keyboard-interactive"], prompts=[("Verification code: ", False, "42")],
                      key=blob) as server:
        user = User(code="42")
        connect(server, home, user, auth="key", key=str(key)).close()
        assert server.attempts[-1] == "keyboard-interactive" and server.logins == 1 and len(user.asked) == 1


def test_the_way_chosen_is_not_offered(home, tmp_path):
    key = make_key(tmp_path / "key")
    with AskingServer() as server:
        with pytest.raises(LoginError, match="takes password") as caught:
            connect(server, home, auth="key", key=str(key))
        assert caught.value.values["offered"] == ["password"] and server.attempts == []


def test_a_line_cut_anywhere_on_the_way_in_is_no_refusal(sshd, home):
    chance, seen = random.Random(1), set()
    with Line(sshd.port, rtt=0.002) as line:
        host_key = " ".join(sshd.host_key.read_text().split()[:2])
        home.mkdir(parents=True)
        (home / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {host_key}\n")
        for _ in range(40):
            line.cut_after(chance.randrange(1, 3000))
            try:
                remote.connect(settings.checked(sshd.connection(port=line.port)), home=home).close()
            except LineError as error:
                seen.add(error.code)
    # "line" where a cut hit the few hundred bytes of the login itself
    assert seen <= {"banner", "line"} and "banner" in seen


def test_paramiko_missing_is_one_sentence_for_passwords(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(MissingPackageError, match="pip install paramiko"):
        remote.connect(settings.checked({"host": "h", "auth": "password"}), home=home)
