"""A server that takes Kerberos alone: the test names system ssh, which gets in with the ticket, as plain sftp
does."""

import os
import shutil
import subprocess

import pytest
from ports import free_port, listening
from ssh_users import (
    ME,
    user,  # noqa: F401 (fixture)
)
from sshd import Sshd
from waiting import until

from runicorn.errors import LoginError

pytestmark = pytest.mark.chaos
CLIENT = """[libdefaults]
  default_realm = LAB.EXAMPLE
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
[realms]
  LAB.EXAMPLE = {{
    kdc = 127.0.0.1:{port}
  }}
[domain_realm]
  localhost = LAB.EXAMPLE
"""
SERVER = """[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  LAB.EXAMPLE = {{
    database_name = {folder}/principals
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
  }}
"""


@pytest.fixture
def realm(tmp_path, monkeypatch):
    """A key distribution centre with a ticket for this user and the keys of host/localhost."""
    folder, port = tmp_path / "realm", free_port()
    folder.mkdir()
    (folder / "krb5.conf").write_text(CLIENT.format(port=port))
    (folder / "kdc.conf").write_text(SERVER.format(port=port, folder=folder))
    places = {"KRB5_CONFIG": "krb5.conf", "KRB5_KDC_PROFILE": "kdc.conf", "KRB5CCNAME": "tickets",
              "KRB5_KTNAME": "keytab"}
    for name, place in places.items():
        monkeypatch.setenv(name, str(folder / place))

    def run(*words, **options):
        tool = shutil.which(words[0]) or f"/usr/sbin/{words[0]}"
        subprocess.run([tool, *words[1:]], check=True, capture_output=True, text=True, **options)

    run("kdb5_util", "create", "-s", "-r", "LAB.EXAMPLE", "-P", "master")
    for query in (f"addprinc -pw secret {ME}", "addprinc -randkey host/localhost",
                  f"ktadd -k {folder / 'keytab'} host/localhost"):
        run("kadmin.local", "-r", "LAB.EXAMPLE", "-q", query)
    server = subprocess.Popen([shutil.which("krb5kdc") or "/usr/sbin/krb5kdc", "-n", "-r", "LAB.EXAMPLE"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: listening("127.0.0.1", port), "an answering krb5kdc")
    run("kinit", ME, input="secret\n")
    yield folder
    server.terminate()
    server.wait()


def test_kerberos_alone(tmp_path, realm, user, home):
    options = {"PubkeyAuthentication": "no", "GSSAPIAuthentication": "yes", "GSSAPIStrictAcceptorCheck": "no"}
    with Sshd(tmp_path / "sshd", **options) as server:
        key = " ".join(server.host_key.read_text().split()[:2])
        (user.ssh / "known_hosts").write_text(f"[localhost]:{server.port} {key}\n")
        user.config(f"Host gpu\n  HostName localhost\n  AddressFamily inet\n  Port {server.port}\n"
                    "  GSSAPIAuthentication yes\n")
        plain = user.sftp()
        assert plain.returncode == 0, plain.stderr + server.log.read_text()
        with pytest.raises(LoginError, match="auth: system"):
            user.connect(home, auth="key", key=str(server.key))
        user.connect(home, auth="system").close()
        os.remove(realm / "tickets")
        assert user.sftp().returncode != 0
        with pytest.raises(LoginError, match="gssapi"):
            user.connect(home, auth="system")
