"""known_hosts files, made by ssh-keygen and by hand: every kind of line, and host certificates."""

import base64
import os
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_files import KINDS, put, to_zero
from sshd import make_key

from runicorn.errors import HostKeyError
from runicorn.ssh import host_keys, user_config


def public(path):
    kind, blob = (path.parent / f"{path.name}.pub").read_text().split()[:2]
    return kind, base64.b64decode(blob)


@pytest.fixture
def keys(tmp_path):
    return [public(make_key(tmp_path / f"key{number}")) for number in range(2)]


def written(tmp_path, name, *lines):
    """Write the lines and return those about a host."""
    (tmp_path / "known_hosts").write_text("\n".join(lines))
    return host_keys.read([tmp_path / "known_hosts", tmp_path / "absent", tmp_path], name)


def line(names, key, marker=""):
    return f"{marker} {names} {key[0]} {base64.b64encode(key[1]).decode()} comment".strip()


@pytest.mark.parametrize("names, name, kind", [
    ("gpu.example.com", "gpu.example.com", "known"), ("GPU.example.com", "gpu.example.com", "known"),
    ("a,gpu,10.0.0.1", "10.0.0.1", "known"), ("*.example.com", "gpu.example.com", "known"),
    ("gpu?", "gpu1", "known"), ("*,!gpu", "gpu", "unknown"), ("[gpu]:2222", "[gpu]:2222", "known"),
    ("gpu", "[gpu]:2222", "unknown"), ("gpu", "gpux", "unknown"),
    ("[gpu]:*", "[gpu]:22022", "known"), ("gp[uv]", "gpu", "unknown"),
])
def test_names_and_patterns(tmp_path, keys, names, name, kind):
    assert host_keys.judge(written(tmp_path, name, line(names, keys[0])), *keys[0]).kind == kind


def test_the_name_of_a_host_depends_on_its_port():
    assert host_keys.host_name("GPU", 22) == "gpu" and host_keys.host_name("::1", 2222) == "[::1]:2222"


def test_another_key_of_the_same_type_is_a_change(tmp_path, keys):
    verdict = host_keys.judge(written(tmp_path, "gpu", line("gpu", keys[0])), *keys[1])
    assert verdict.kind == "changed" and verdict.expected[0].blob == keys[0][1]
    assert verdict.expected[0].path == str(tmp_path / "known_hosts")


def test_a_key_of_another_type_is_unknown_and_the_known_type_is_asked_for_first(tmp_path, keys):
    other = public(make_key(tmp_path / "ecdsa", kind="ecdsa"))
    lines = written(tmp_path, "gpu", line("gpu", keys[0]))
    assert host_keys.judge(lines, *other).kind == "unknown"
    assert host_keys.known_types(lines) == ["ssh-ed25519"]


def test_revoked_wins_over_known(tmp_path, keys):
    lines = written(tmp_path, "gpu", line("gpu", keys[0]), line("*", keys[0], "@revoked"))
    assert host_keys.judge(lines, *keys[0]).kind == "revoked"


def test_names_hashed_by_ssh_keygen(tmp_path, keys):
    path = tmp_path / "known_hosts"
    path.write_text(line("gpu.example.com", keys[0]) + "\n" + line("[gpu]:2222", keys[1]) + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    assert "gpu" not in path.read_text()
    assert host_keys.judge(host_keys.read([path], "gpu.example.com"), *keys[0]).kind == "known"
    assert host_keys.judge(host_keys.read([path], "[gpu]:2222"), *keys[1]).kind == "known"
    assert host_keys.judge(host_keys.read([path], "other"), *keys[0]).kind == "unknown"


def test_nonsense_is_passed_over(tmp_path, keys):
    lines = written(tmp_path, "gpu", "", "# comment", "gpu", "gpu ssh-ed25519", "gpu ssh-ed25519 ###",
                    "|1|x ssh-ed25519 AAAA", "@other gpu a b",
                    "\x00\xff", "|1|bad|bad ssh-rsa AAAA", line("gpu", keys[0]))
    assert host_keys.judge(lines, *keys[0]).kind == "known"


def test_added_keys_are_known_and_a_torn_end_is_respected(tmp_path, keys):
    path = tmp_path / "ours" / "known_hosts"
    host_keys.add(path, "gpu", *keys[0])
    with path.open("a") as file:
        file.write("# torn")
    host_keys.add(path, "[gpu]:22022", *keys[1])
    assert host_keys.judge(host_keys.read([path], "gpu"), *keys[0]).kind == "known"
    assert host_keys.judge(host_keys.read([path], "[gpu]:22022"), *keys[1]).kind == "known"
    assert path.stat().st_mode & 0o777 == 0o600


def ssh_keygen_without_special_files(folder, monkeypatch):
    """Put an ssh-keygen first on PATH that opens regular files only: Windows has no /dev/stdin."""
    folder.mkdir()
    (folder / "ssh-keygen").write_text(
        '#!/bin/sh\nfor word; do case $word in -*) ;; *) [ -f "$word" ] || { echo "no $word" >&2; '
        f'exit 255; }};; esac; done\nexec {shutil.which("ssh-keygen")} "$@"\n')
    (folder / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("windows", [False, True])
def test_a_key_revocation_list(tmp_path, keys, monkeypatch, windows):
    krl = tmp_path / "revoked krl"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(krl), str(tmp_path / "key0.pub")], check=True)
    if windows:
        ssh_keygen_without_special_files(tmp_path / "bin", monkeypatch)
    assert [host_keys.is_revoked(str(krl), *key) for key in keys] == [True, False]


def test_a_key_revocation_list_that_can_not_be_read_is_not_taken_for_a_revoked_key(
        tmp_path, keys, monkeypatch):
    krl = tmp_path / "krl"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(krl), str(tmp_path / "key0.pub")], check=True)
    whole = krl.read_bytes()
    krl.write_bytes(whole[:30])
    with pytest.raises(HostKeyError, match="can't be read .*Invalid KRL.*no host key is trusted without it"):
        host_keys.is_revoked(str(krl), *keys[1])
    krl.write_bytes(whole)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostKeyError, match="can't be read .*ssh-keygen"):
        host_keys.is_revoked(str(krl), *keys[1])
    with pytest.raises(HostKeyError, match="can't be read .*absent"):
        host_keys.is_revoked(str(tmp_path / "absent"), *keys[1])


def test_fingerprints_are_those_of_ssh_keygen(tmp_path, keys):
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "key0.pub")], capture_output=True,
                           text=True, check=True).stdout
    assert host_keys.fingerprint(keys[0][1]) == shown.split()[1]


def certified(tmp_path, *options, key="host"):
    make_key(tmp_path / "authority")
    make_key(tmp_path / key)
    subprocess.run(["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "id", *options,
                    str(tmp_path / f"{key}.pub")],
                   check=True, capture_output=True)
    return host_keys.certificate(base64.b64decode((tmp_path / f"{key}-cert.pub").read_text().split()[1]))


@pytest.mark.parametrize("options, host, reason", [
    (("-h", "-n", "gpu,gpu2"), "gpu2", None), (("-h",), "anything", None),
    (("-h", "-n", "*.example.com"), "gpu.example.com", "made for"),
    (("-h", "-n", "gpu"), "other", "made for gpu"), (("-n", "gpu"), "gpu", "no host certificate"),
    (("-h", "-n", "gpu", "-V", "20200101:20200201"), "gpu", "not valid now"),
])
def test_what_a_certificate_vouches_for(tmp_path, options, host, reason):
    made = certified(tmp_path, *options)
    trusted = host_keys.authorities(
        written(tmp_path, host, line("*", public(tmp_path / "authority"), "@cert-authority")))
    told = host_keys.refusal(made, host, trusted, now=1_780_000_000)
    assert told is None if reason is None else reason in told
    assert "does not trust" in host_keys.refusal(made, host, [], now=1_780_000_000)


def test_a_revoked_authority_is_trusted_no_more(tmp_path, keys):
    lines = written(tmp_path, "gpu", line("*", keys[0], "@cert-authority"), line("*", keys[0], "@revoked"))
    assert len(lines) == 2 and host_keys.authorities(lines) == []


@pytest.mark.parametrize("kind, version, command", [
    ("ssh-ed25519", "SSH-2.0-OpenSSH_9.2p1 Debian-2", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
    ("ecdsa-sha2-nistp256", "SSH-2.0-OpenSSH_8.0", "ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub"),
    ("rsa-sha2-512", "SSH-1.99-OpenSSH_7.4", "ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub"),
    ("ssh-ed25519", "SSH-2.0-OpenSSH_for_Windows_9.5",
     r"ssh-keygen -lf %PROGRAMDATA%\ssh\ssh_host_ed25519_key.pub"),
    ("ssh-rsa", "SSH-2.0-dropbear_2022.83", "dropbearkey -y -f /etc/dropbear/dropbear_rsa_host_key"),
    ("ssh-ed25519", "SSH-2.0-Go", ""), ("ssh-ed25519", "SSH-2.0-x; rm -rf /", "")])
def test_how_a_key_is_compared_on_its_server(kind, version, command):
    assert host_keys.comparison(kind, version) == command


def test_a_large_file_is_looked_at_once_until_it_changes(tmp_path, keys, monkeypatch):
    path, looked, parsed, parse = tmp_path / "known_hosts", [], [], host_keys.parse
    path.write_text("".join(line(f"host{number}", keys[0]) + "\n" for number in range(2000))
                    + line("*.lab", keys[1]) + "\n")
    about = host_keys._about
    monkeypatch.setattr(host_keys, "_about", lambda *given: looked.append(given[1]) or about(*given))
    monkeypatch.setattr(host_keys, "parse", lambda text, path: parsed.append(text) or parse(text, path))
    for _ in range(3):
        assert [found.names for found in host_keys.read([path], "host1234")] == ["host1234"]
    assert looked == ["host1234"] and len(
        parsed) < 5, "of 2,001 lines only those that may speak about it are parsed"
    with path.open("a") as file:
        file.write(line("host1234", keys[1]) + "\n")
    assert len(host_keys.read([path], "host1234")) == 2 and looked == ["host1234"] * 2


@settings(deadline=None)
@given(st.text(max_size=200), st.binary(max_size=300))
def test_no_line_and_no_certificate_breaks_the_reader(text, blob):
    made = host_keys.parse(text) or host_keys.parse(f"{text.replace(' ', '')} ssh-ed25519 AAAA")
    if made:
        assert host_keys.matches(made, "gpu") in (True, False)
    with pytest.raises(HostKeyError):
        host_keys.certificate(blob)


@pytest.mark.parametrize("size", [0, 3, 40, 100, 200])
def test_a_certificate_cut_short_is_one_sentence(tmp_path, size):
    certified(tmp_path, "-h")
    blob = base64.b64decode((tmp_path / "host-cert.pub").read_text().split()[1])
    with pytest.raises(HostKeyError, match="can't be read"):
        host_keys.certificate(blob[:size])


@given(pattern=st.text("ab*?", max_size=8), name=st.text("ab", max_size=8))
def test_a_pattern_fits_what_its_regular_expression_fits(pattern, name):
    regular = re.fullmatch(pattern.replace("*", ".*").replace("?", "."), name) is not None
    assert host_keys.matches(host_keys.Line("", pattern, "ssh-ed25519", b"", None), name) is regular


def test_a_pattern_of_many_stars_takes_no_time():
    assert not host_keys.matches(host_keys.Line("", "*9" * 40 + "x", "ssh-ed25519", b"", None), "9" * 200)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_never_waited_for(tmp_path, keys, kind):
    place = tmp_path / "place"
    put(place, kind)
    assert host_keys.read([place], "gpu") == []
    if kind is not to_zero:             # which others may write: ssh refuses it, too
        assert user_config.hosts([place]) == []
        (tmp_path / "config").write_text(f"Host gpu\n Include {place}\n Port 2222\n")
        assert user_config.lookup("gpu", paths=[tmp_path / "config"])["port"] == 2222
    with pytest.raises(HostKeyError, match="RevokedHostKeys .* can't be read"):
        host_keys.is_revoked(place, *keys[0])
    with pytest.raises(OSError):
        host_keys.add(place, "gpu", *keys[0])


def test_no_file_at_all_revokes_no_key(keys):
    assert not host_keys.is_revoked(os.devnull, *keys[0]) and host_keys.read([os.devnull], "gpu") == []
