"""~/.ssh/config as people have it: where plain sftp gets in with it we get in, with paramiko and by the
system's ssh, and nowhere else."""

import os
import shutil
import subprocess
import sys
import types

import pytest
from ssh_users import (
    ME,
    user,  # noqa: F401 (fixture)
)
from sshd import Sshd, make_key

from runicorn.errors import HostKeyError, RunicornError
from runicorn.ssh import user_config

CHAOS = pytest.mark.chaos
BASE = "Host gpu\n  HostName 127.0.0.1\n  Port {port}\n  User {me}\n"
KEY = "  IdentityFile {key}\n"
GATES = ("Host gate\n  HostName 127.0.0.1\n  Port {gate.port}\n  IdentityFile {gate.key}\n"
         "Host far\n  HostName 127.0.0.1\n  Port {far.port}\n  IdentityFile {far.key}\n")
OWN = "  UserKnownHostsFile {home}/.ssh/known_hosts\n"
UNKNOWN = "unknown"         # the host key is in no known_hosts of the home
FD_PASS = ("import array, socket, sys\nline = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
           "socket.socket(fileno=1).sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', "
           "[line.fileno()]))])\n")


def key_at(name):
    """Return a preparation that lays the key at `name` in the home."""
    return lambda user, server: shutil.copy(server.key, user.home / name.format(me=ME, port=server.port))


def known_at(name, host="[127.0.0.1]:{port}"):
    """Return a preparation that lays the server's host key at `name` in the home, as the key of `host`."""
    def prepare(user, server):
        key = " ".join(server.host_key.read_text().split()[:2])
        (user.home / name).write_text(f"{host.format(port=server.port)} {key}\n")
    return prepare


def included(user, server):
    (user.home / "x").mkdir()
    (user.home / "x" / "a.conf").write_text(f"Host gpu\n  IdentityFile {server.key}\n")


def another_known(user, server):
    other = make_key(user.home / "other").with_suffix(".pub").read_text()
    (user.ssh / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {' '.join(other.split()[:2])}\n")


def command_printing(user, server):
    key = " ".join(server.host_key.read_text().split()[:2])
    script = user.home / "known"
    script.write_text(
        f'#!/bin/sh\n[ "$1" != other ] && case "$2" in HOSTNAME|ORDER|ADDRESS) echo "$1 {key}";; *) exit 1;; '
        'esac; exit 0\n')
    script.chmod(0o755)


def revoking(kind):
    """Return a preparation that revokes the server's host key ("key", "krl"), or another one ("other key",
    "other krl")."""
    def prepare(user, server):
        key = (make_key(user.home / "other").with_suffix(".pub") if kind.startswith("other")
               else server.host_key)
        if kind.endswith("krl"):
            subprocess.run(["ssh-keygen", "-q", "-k", "-f", user.home / "revoked", key], check=True)
        else:
            (user.home / "revoked").write_text("# of last year\n" + key.read_text())
    return prepare


def fd_pass(user, server):
    (user.home / "pass.py").write_text(FD_PASS)


def open_key(user, server):
    key_at(".ssh/mine")(user, server)
    (user.ssh / "mine").chmod(0o644)


# name: (config, preparation, UNKNOWN or None, host). Of these, USUAL run each time, the others with the
# chaos.
ROWS = {
    "Match exec, by the user's shell": ('Match originalhost gpu exec "[[ %n == gpu ]]"\n' + KEY + BASE, None,
                                        None),
    "Match exec, tokens": ('Match exec "test %h = gpu -a %r = {me}"\n' + KEY + BASE, None, None),
    "Include, a glob in ~": ("Include ~/x/*.conf ~/nothing\n" + BASE, included, None),
    "Include, ${{ENV}}": ("Include ${{HOME}}/x/a.conf\n" + BASE, included, None),
    "two hops": (BASE + KEY + "  ProxyJump gate,far\n" + GATES, None, None),
    "a hop behind a hop": (BASE + KEY + "  ProxyJump far\n" + GATES + "  ProxyJump gate\n", None, None),
    "ProxyJump none, then one for all":
    (BASE + KEY + "  ProxyJump none\nHost *\n  ProxyJump nowhere.invalid\n", None, None),
    "ProxyJump none, then a command": (BASE + KEY + "  ProxyJump none\nHost *\n  ProxyCommand false\n", None,
                                       None),
    "ProxyCommand none, then a jump":
    (BASE + KEY + "  ProxyCommand none\nHost *\n  ProxyJump nowhere.invalid\n", None, None),
    "ProxyCommand, then a jump": (BASE + KEY
                                  + "  ProxyCommand nc %h %p\nHost *\n  ProxyJump nowhere.invalid\n", None,
                                  None),
    "ProxyJump, then a command": (BASE + KEY + "  ProxyJump gate\n" + GATES
                                  + "Host g*u\n  ProxyCommand false\n", None, None),
    "ProxyJump with %r": (BASE + KEY + "  ProxyJump %r@gate\n" + GATES, None, None),
    "ProxyJump as ssh://": (BASE + KEY
                            + "  ProxyJump ssh://{me}@127.0.0.1:{gate.port}\nHost 127.0.0.1\n"
                              "  IdentityFile {gate.key}\n",
                            None, None),
    "ProxyJump in capitals": (BASE + KEY + "  ProxyJump GATE\n" + GATES, None, None),
    "ProxyCommand, tokens": (BASE + KEY + "  ProxyCommand sh -c 'test %r-%n = {me}-gpu && exec nc %h %p'\n",
                             None, None),
    "ProxyCommand, %%": (BASE + KEY + "  ProxyCommand sh -c 'test $(date +%%Y) -gt 2000 && exec nc %h %p'\n",
                         None, None),
    "ProxyCommand, a pipe": (BASE + KEY + "  ProxyCommand nc %h %p 2>/dev/null | cat\n", None, None),
    "ProxyCommand, ssh -W": (BASE + KEY + "  ProxyCommand ssh -W %h:%p gate\n" + GATES, None, None),
    "ProxyUseFdpass": (BASE + KEY
                       + f"  ProxyUseFdpass yes\n  ProxyCommand {sys.executable} {{home}}/pass.py %h %p\n",
                       fd_pass, None),
    "IdentityFile none, then one": (BASE + "  IdentityFile none\n" + KEY, None, None),
    "IdentityFile ~": (BASE + "  IdentityFile ~/.ssh/mine\n", key_at(".ssh/mine"), None),
    "IdentityFile %d": (BASE + "  IdentityFile %d/.ssh/mine\n", key_at(".ssh/mine"), None),
    "IdentityFile %u %r %h %n %p": (BASE + "  IdentityFile {home}/%u-%r-%h-%n-%p\n",
                                    key_at("{me}-{me}-127.0.0.1-gpu-{port}"), None),
    "IdentityFile %C": (BASE + "  IdentityFile {home}/%C\n",
                        lambda user, server: shutil.copy(server.key, user.home / token(user, "%C")), None),
    "IdentityFile ${{ENV}}": (BASE + "  IdentityFile ${{HOME}}/mine\n", key_at("mine"), None),
    "IdentityFile with a space": (BASE + '  IdentityFile "{home}/my key"\n', key_at("my key"), None),
    "IdentityFile in single quotes": (BASE + "  IdentityFile '{home}/my key'\n", key_at("my key"), None),
    "IdentityFile, an escaped space": (BASE + "  IdentityFile {home}/my\\ key\n", key_at("my key"), None),
    "IdentityFile, escaped quotes": (BASE + '  IdentityFile "{home}/my \\"key\\" # one" # mine\n',
                                     key_at('my "key" # one'), None),
    "IdentityFile, a backslash": (BASE + "  IdentityFile {home}/my\\key\n", key_at("my\\key"), None),
    "IdentityFile, a # within": (BASE + "  IdentityFile {home}/my#key\n", key_at("my#key"), None),
    "a quote without its other half": (BASE + "  IdentityFile '{home}/my key\n", key_at("my key"), None),
    "IdentityFile missing, then one": (BASE + "  IdentityFile /nowhere\n" + KEY, None, None),
    "a key that others may read": (BASE + "  IdentityFile {home}/.ssh/mine\n", open_key, None),
    "the usual key": (BASE, key_at(".ssh/id_ed25519"), None),
    "a key of another name": (BASE, key_at(".ssh/id_other"), None),
    "HostKeyAlias": (BASE + KEY + "  HostKeyAlias Cluster\n", known_at(".ssh/known_hosts", "cluster"),
                     UNKNOWN),
    "UserKnownHostsFile, several": (BASE + KEY + "  UserKnownHostsFile {home}/a {home}/b\n", known_at("b"),
                                    UNKNOWN),
    "UserKnownHostsFile none": (BASE + KEY + "  UserKnownHostsFile none\n", None, None),
    "UserKnownHostsFile none, a global one":
    (BASE + KEY + "  UserKnownHostsFile none\n  GlobalKnownHostsFile {home}/b\n", known_at("b"),
     UNKNOWN),
    "UserKnownHostsFile with a space": (BASE + KEY + '  UserKnownHostsFile "{home}/a b"\n', known_at("a b"),
                                        UNKNOWN),
    "UserKnownHostsFile %k": (BASE + KEY + "  UserKnownHostsFile {home}/known.%k\n", known_at("known.gpu"),
                              UNKNOWN),
    "UserKnownHostsFile ${{ENV}}": (BASE + KEY + "  UserKnownHostsFile ${{HOME}}/b\n", known_at("b"),
                                    UNKNOWN),
    "KnownHostsCommand": (BASE + KEY + "  KnownHostsCommand {home}/known %H %I %h %t %f %K\n",
                          command_printing, UNKNOWN),
    "KnownHostsCommand, another host": (BASE + KEY + "  KnownHostsCommand {home}/known other %I\n",
                                        command_printing, UNKNOWN),
    "KnownHostsCommand that fails": (BASE + KEY + "  KnownHostsCommand /bin/false\n", None, None),
    "KnownHostsCommand that is missing": (BASE + KEY + "  KnownHostsCommand /nowhere\n", None, UNKNOWN),
    "StrictHostKeyChecking ask": (BASE + KEY, None, UNKNOWN),
    "StrictHostKeyChecking accept-new": (BASE + KEY + "  StrictHostKeyChecking accept-new\n" + OWN, None,
                                         UNKNOWN),
    "StrictHostKeyChecking accept-new, changed": (BASE + KEY + "  StrictHostKeyChecking accept-new\n" + OWN,
                                                  another_known, UNKNOWN),
    "StrictHostKeyChecking no": (BASE + KEY + "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n",
                                 None, UNKNOWN),
    "StrictHostKeyChecking no, changed": (BASE + KEY + "  StrictHostKeyChecking no\n", another_known,
                                          UNKNOWN),
    "StrictHostKeyChecking yes, changed": (BASE + KEY + "  StrictHostKeyChecking yes\n", another_known,
                                           UNKNOWN),
    "StrictHostKeyChecking false":
    (BASE + KEY + "  StrictHostKeyChecking FALSE\n  UserKnownHostsFile /dev/null\n", None, UNKNOWN),
    "NoHostAuthenticationForLocalhost": (BASE + KEY + "  NoHostAuthenticationForLocalhost yes\n", None,
                                         UNKNOWN),
    "NoHostAuthenticationForLocalhost, changed": (BASE + KEY + "  NoHostAuthenticationForLocalhost true\n",
                                                  another_known, UNKNOWN),
    "NoHostAuthenticationForLocalhost, an alias":
    (BASE + KEY + "  NoHostAuthenticationForLocalhost yes\n  HostKeyAlias gpu\n", None,
     UNKNOWN),
    "NoHostAuthenticationForLocalhost, behind a hop":
    (BASE + KEY + "  NoHostAuthenticationForLocalhost yes\n  ProxyJump gate\n" + GATES,
     lambda user, server: (user.ssh / "known_hosts").unlink(), None),
    "CheckHostIP": (BASE.replace("127.0.0.1", "localhost") + KEY
                    + "  CheckHostIP yes\n  AddressFamily inet\n",
                    known_at(".ssh/known_hosts", "[localhost]:{port}"), UNKNOWN),
    "HostName in capitals": (BASE.replace("127.0.0.1", "LOCALHOST") + KEY + "  AddressFamily inet\n",
                             known_at(".ssh/known_hosts", "[localhost]:{port}"), UNKNOWN),
    "HostName with %h": (BASE.replace("127.0.0.1", "%h.cluster.example").replace("gpu", "node7") + KEY,
                         known_at(".ssh/known_hosts", "[node7.cluster.example]:{port}"), UNKNOWN, "node7"),
    "Host in capitals": (BASE.replace("gpu", "GPU") + KEY, None, None),
    "Match host in capitals": ("Match host GPU\n" + KEY + BASE, None, None),
    "Match originalhost, a list": ('Match originalhost "foo,g*" !user nobody\n' + KEY + BASE, None, None),
    "Match host=": ("Match host=gpu\n" + KEY + BASE, None, None),
    "Match host =, !user=": ("Match host = gpu !user=nobody exec=true\n" + KEY + BASE, None, None),
    "Match user and localuser": (BASE + "Match user {me} localuser {me}\n" + KEY, None, None),
    "Match final": (BASE + "Match final host 127.*\n" + KEY, None, None),
    "Match !final": (BASE + "Match !final host 127.*\n" + KEY, None, None),
    "Match canonical": (BASE + "Match canonical\n" + KEY, None, None),
    "Host of the final name": (BASE + "Match final\n  Compression no\nHost 127.*\n" + KEY, None, None),
    "Host of a name that is not final": (BASE + "Host 127.*\n" + KEY, None, None),
    "CanonicalizeHostname":
    ("CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid cluster.example\nHost *.cluster.example\n"
     "  Port {port}\n" + KEY, known_at(".ssh/known_hosts", "[node7.cluster.example]:{port}"), UNKNOWN,
     "node7"),
    "CanonicalizeHostname, no fallback":
    ("CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid\nCanonicalizeFallbackLocal no\n"
     + BASE.replace("  HostName 127.0.0.1\n", ""), None, None),
    "CanonicalizeHostname, too many dots":
    ("CanonicalizeHostname yes\nCanonicalDomains example\nCanonicalizeMaxDots 0\n"
     "Host node7.cluster\n  Port {port}\n" + KEY, None, None, "node7.cluster"),
    "BindAddress": (BASE + KEY + "  BindAddress 127.0.0.1\n", None, None),
    "BindAddress of others": (BASE + KEY + "  BindAddress 192.0.2.7\n", None, None),
    "ConnectTimeout": (BASE + KEY + "  ConnectTimeout 1m\n", None, None),
    "IgnoreUnknown": ("IgnoreUnknown Foo,UseKeychain\nFoo bar\n" + BASE + KEY + "  UseKeychain yes\n", None,
                      None),
    "algorithms by name": (BASE + KEY
                           + "  Ciphers aes128-ctr\n  MACs hmac-sha2-256\n  HostKeyAlgorithms ssh-ed25519\n",
                           None, None),
    "tabs, CRLF, =": ((BASE + KEY).replace("  ", "\t").replace("\n", "\r\n").replace("Port ", "Port = "),
                      None, None),
    "a comment behind a value": (BASE + KEY.rstrip() + " # my key\n", None, None),
    "Host !cpu g*": ("Host !cpu g*\n" + KEY + BASE, None, None),
    "Host g* !gpu": ("Host g* !gpu\n" + KEY + BASE, None, None),
    "Include, a glob of globs": ("Include x/*.c?nf ~/x/[a-c].conf ~/x/nothing*\n" + BASE, included, None),
    "ProxyCommand, %r@%h:%p in quotes":
    (BASE + KEY + "  ProxyCommand sh -c 'test \"%r@%h:%p\" = \"{me}@127.0.0.1:{port}\" "
     "&& exec nc \"%h\" %p'\n", None, None),
    "ProxyCommand, exec and a comment": (BASE + KEY + "  ProxyCommand exec nc %h %p # by the VPN\n", None,
                                         None),
    "ProxyJump, user@host:port list":
    (BASE + KEY + "  ProxyJump {me}@127.0.0.1:{gate.port},{me}@far:{far.port}\nHost 127.0.0.1\n"
     "  IdentityFile {gate.key}\n" + GATES, None, None),
    "ProxyJump through a host that is down": (BASE + KEY + "  ProxyJump gate\nHost gpu\n  Port 9\n" + GATES,
                                              None, None),
    "StrictHostKeyChecking off": (BASE + KEY
                                  + "  StrictHostKeyChecking off\n  UserKnownHostsFile /dev/null\n", None,
                                  UNKNOWN),
    "UpdateHostKeys": (BASE + KEY + "  UpdateHostKeys yes\n", None, None),
    "RevokedHostKeys": (BASE + KEY + "  RevokedHostKeys {home}/revoked\n", revoking("key"), None),
    "RevokedHostKeys, another": (BASE + KEY + "  RevokedHostKeys {home}/revoked\n", revoking("other key"),
                                 None),
    "RevokedHostKeys, a KRL": (BASE + KEY + "  RevokedHostKeys {home}/revoked\n", revoking("krl"), None),
    "RevokedHostKeys, a KRL of another": (BASE + KEY + "  RevokedHostKeys {home}/revoked\n",
                                          revoking("other krl"), None),
    "RevokedHostKeys that is missing": (BASE + KEY + "  RevokedHostKeys /nowhere\n", None, None),
    "@cert-authority beside the key": (BASE + KEY, lambda user, server: (user.ssh / "known_hosts").write_text(
        "@cert-authority *.example "
        + " ".join(make_key(user.home / "ca").with_suffix(".pub").read_text().split()[:2]) + "\n"
        + (user.ssh / "known_hosts").read_text()), None),
    "SetEnv, SendEnv": (BASE + KEY + "  SetEnv FOO=bar\n  SendEnv LANG LC_*\n", None, None),
    "a config that others may write": (BASE + KEY, lambda user, server: (user.ssh / "config").chmod(0o646),
                                       None),
    "a config that our group may write": (BASE + KEY, lambda user, server: (user.ssh / "config").chmod(0o664),
                                          None),
    "a config of others": (BASE + KEY, lambda user, server: os.chown(user.ssh / "config", 47110, -1), None),
    "an included config that others may write": ("Include {home}/x/a.conf\n" + BASE + KEY,
                                                 lambda user, server: (
                                                     included(user, server),
                                                     (user.home / "x" / "a.conf").chmod(0o666)), None),
    "a config that is a link": (BASE + KEY,
                                lambda user, server: ((user.ssh / "config").rename(user.home / "dots"),
                                                      (user.ssh / "config").symlink_to(user.home / "dots")),
                                None),
    "AddKeysToAgent, IdentitiesOnly, PKCS11Provider none":
    (BASE + KEY + "  AddKeysToAgent yes\n  IdentitiesOnly yes\n"
     "  PKCS11Provider none\n", None, None),
    "IdentitiesOnly without a file": (BASE + "  IdentitiesOnly yes\n", key_at(".ssh/id_ed25519"), None),
    "HostName in brackets": (BASE.replace("127.0.0.1", "[127.0.0.1]") + KEY, None, None),
    "an address as the host": ("Host 127.0.0.1\n  Port {port}\n" + KEY, None, None, "127.0.0.1"),
    "a port that nobody serves": (BASE.replace("{port}", "9") + KEY, None, None),
    "Port with a comment, User quoted":
    (BASE.replace("{port}", "{port} # ours").replace("{me}", '"{me}"') + KEY, None, None),
}
USUAL = ("ProxyCommand, then a jump", "ProxyJump none, then one for all", "IdentityFile %C",
         "KnownHostsCommand", "Match final", "UserKnownHostsFile with a space",
         "StrictHostKeyChecking accept-new", "StrictHostKeyChecking accept-new, changed",
         "a key that others may read", "Host of the final name", "RevokedHostKeys")


def token(user, text):
    """Return what ssh makes of a % token (str), by its own word."""
    told = subprocess.run([user.tools / "ssh", "-G", "-F", str(user.ssh / "config"), f"-oControlPath={text}",
                           "gpu"], capture_output=True,
                          text=True, check=True).stdout
    return next(line.split(" ", 1)[1] for line in told.splitlines() if line.startswith("controlpath "))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with Sshd(tmp_path_factory.mktemp("gpu")) as gpu, Sshd(tmp_path_factory.mktemp("gate")) as gate, \
            Sshd(tmp_path_factory.mktemp("far")) as far:
        yield gpu, gate, far


@pytest.mark.few(4)
@pytest.mark.parametrize("name",
                         [name if name in USUAL else pytest.param(name, marks=CHAOS) for name in ROWS])
@pytest.mark.parametrize("auth", ["key", pytest.param("system", marks=CHAOS)])
def test_where_sftp_gets_in_we_get_in(servers, user, home, name, auth):
    text, prepare, known, *host = ROWS[name]
    host, (server, gate, far) = (host or ["gpu"])[0], servers
    user.config(text.format(port=server.port, me=ME, key=server.key, home=user.home, gate=gate, far=far))
    if known is not UNKNOWN:
        user.trusts(server, gate, far)
    if prepare:
        prepare(user, server)
    before = {path: path.read_bytes() for path in user.ssh.iterdir() if "known_hosts" in path.name}
    plain = user.sftp(host)
    # ssh may have noted the key: we come as it came
    for path in set(user.ssh.glob("known_hosts*")) | set(before):
        path.write_bytes(before[path]) if path in before else path.unlink()
    if plain.returncode == 0:
        user.connect(home, host, auth=auth).close()
    else:
        with pytest.raises(RunicornError) as caught:
            user.connect(home, host, auth=auth).close()
        assert len(str(caught.value)) > 20, plain.stderr


def test_both_answers_occur(servers, user):
    """The comparison would be worth little if plain sftp got in everywhere, or nowhere."""
    server = servers[0]
    user.trusts(server)
    user.config((BASE + KEY).format(port=server.port, me=ME, key=server.key))
    assert user.sftp().returncode == 0
    user.config(BASE.format(port=server.port, me=ME))
    assert user.sftp().returncode != 0


def test_a_key_taken_unseen_is_noted_and_its_change_is_told(servers, user, home):
    server = servers[0]
    user.config((BASE + KEY + "  StrictHostKeyChecking accept-new\n").format(
        port=server.port, me=ME, key=server.key))
    user.connect(home).close()
    assert f"[127.0.0.1]:{server.port} ssh-ed25519" in (home / "known_hosts").read_text()
    other = make_key(user.home / "other").with_suffix(".pub").read_text()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {' '.join(other.split()[:2])}\n")
    with pytest.raises(RunicornError, match="CHANGED"):
        user.connect(home)


def test_a_machine_that_is_made_anew_each_day_is_noted_nowhere(servers, user, home):
    server, forgetful = servers[0], "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
    user.config((BASE + KEY + forgetful).format(port=server.port, me=ME, key=server.key))
    user.connect(home).close()
    assert not (home / "known_hosts").exists()


def test_who_asks_for_a_password_must_be_known(servers, user, home):
    server = servers[0]
    another_known(user, server)
    user.config((BASE + "  StrictHostKeyChecking no\n").format(port=server.port, me=ME))
    with pytest.raises(RunicornError, match="CHANGED"):
        user.connect(home, auth="password", secrets={"password": "open sesame"})


@pytest.mark.parametrize("word", ["yes", "true", "YES"])
def test_a_key_is_not_asked_about_where_strict_checking_is_wished_for(servers, user, home, word):
    server, asked = servers[0], []
    user.config((BASE + KEY + f"  StrictHostKeyChecking {word}\n").format(
        port=server.port, me=ME, key=server.key))
    assert user.sftp().returncode != 0
    with pytest.raises(HostKeyError,
                       match=r"strict checking .* run `ssh -o StrictHostKeyChecking=ask gpu` once"):
        user.connect(home, ask=lambda question: asked.append(question) or "yes")
    assert asked == [] and not (home / "known_hosts").exists()
    user.trusts(server)
    user.connect(home).close()


def test_strict_checking_believes_the_keys_that_we_know(servers, user, home):
    server = servers[0]
    home.mkdir(exist_ok=True)
    (home / "known_hosts").write_text(server.known_hosts.read_text())
    user.config((BASE + KEY + "  StrictHostKeyChecking yes\n").format(
        port=server.port, me=ME, key=server.key))
    user.connect(home).close()


def exposed(name):
    """Return a preparation that gives everybody the right to write a file of the home."""
    return lambda user: (user.home / name).chmod(0o666)


def foreign(name):
    return lambda user: os.chown(user.home / name, 65534, 65534)


CALLS = 'Match exec "touch {home}/ran"\n  Compression no\n'
GUARDED = {     # name: (config, included file, preparation)
    "the config, open to all": (CALLS, "", exposed(".ssh/config")),
    "an included file": ("Include x.conf\n", CALLS, exposed(".ssh/x.conf")),
    "a file included for another host": ("Host other\n  Include x.conf\n", CALLS, exposed(".ssh/x.conf")),
    "a link to a file": ("Include link.conf\n", CALLS,
                         lambda user: (user.ssh / "link.conf").symlink_to(user.ssh / "x.conf")
                         or exposed(".ssh/x.conf")(user)),
}
if os.getuid() == 0:
    GUARDED["another user's config"] = (CALLS, "", foreign(".ssh/config"))
    GUARDED["the config, open to a group"] = (CALLS, "", lambda user: os.chown(user.ssh / "config", 0, 65534)
                                              or (user.ssh / "config").chmod(0o620))
    GUARDED["another user's included file"] = ("Include x.conf\n", CALLS, foreign(".ssh/x.conf"))


@pytest.mark.parametrize("name", GUARDED)
def test_a_config_that_others_may_write_is_refused_and_nothing_of_it_is_run(servers, user, home, name):
    server, (text, more, prepare) = servers[0], GUARDED[name]
    user.trusts(server)
    user.config((text + BASE + KEY).format(port=server.port, me=ME, key=server.key, home=user.home))
    (user.ssh / "x.conf").write_text(more.format(home=user.home))
    user.connect(home).close()
    (user.home / "ran").unlink(missing_ok=True)
    assert "gpu" in user_config.offered()
    prepare(user)
    if os.getuid() == 0:        # others give ssh the config by -F, which it does not look at so
        plain = user.sftp()
        assert plain.returncode and "Bad owner or permissions on" in plain.stderr
    with pytest.raises(RunicornError, match=r"others may change \S+/\.ssh/\S+, .*`chmod go-w "):
        user.connect(home)
    with pytest.raises(RunicornError, match="others may change"):
        user_config.offered()
    assert not (user.home / "ran").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="makes a group of root's alone")
def test_a_group_of_ours_alone_may_write_the_config(servers, user, home, monkeypatch):
    """As Debian's ssh has it: with each user's own group, a umask of 002 is usual."""
    import grp
    import pwd
    user.config("Host gpu\n  User given\n")
    (user.ssh / "config").chmod(0o664)
    monkeypatch.setattr(grp, "getgrgid", lambda group: types.SimpleNamespace(gr_mem=["root"]))
    monkeypatch.setattr(pwd, "getpwall", lambda: [pwd.getpwnam("root"), pwd.getpwnam("nobody")])
    assert user_config.lookup("gpu")["user"] == "given"
    monkeypatch.setattr(grp, "getgrgid", lambda group: types.SimpleNamespace(gr_mem=["root", "nobody"]))
    with pytest.raises(RunicornError, match="chmod go-w"):
        user_config.lookup("gpu")
