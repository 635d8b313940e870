"""~/.ssh/config as ssh itself reads it: our answers are compared with `ssh -G`."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runicorn.errors import UsageError
from runicorn.ssh import user_config

CONFIG = """
# a comment
Include extra.d/*.conf
Host gpu gpu-alias
    HostName gpu-server.example.com
    Port 2222
    User alice
    IdentityFile ~/.ssh/id_gpu
    IdentityFile "~/.ssh/with space"
Host *.lab !bad.lab
    HostName=%h.example.org
    ProxyJump alice@gate:2200,second
    User = lab
Match host gpu-server.example.com user alice
    IdentitiesOnly yes
Match originalhost matched exec "test %n = matched"
    Port 99
Match exec "false"
    Port 98
Host proxied
    ProxyCommand nc -X connect "%h" %p # not a comment
Host *
    User everyone
    Port 22
"""
EXTRA = """
Host included
    HostName inside.example.com
Host gpu
    HostKeyAlias from-include
"""


@pytest.fixture
def folder(home):
    ssh = home.parent / ".ssh"
    (ssh / "extra.d").mkdir(parents=True)
    (ssh / "config").write_text(CONFIG)
    (ssh / "extra.d" / "one.conf").write_text(EXTRA)
    return ssh


def look(host, folder, **given):
    return user_config.lookup(host, paths=[folder / "config"], folder=folder, **given)


@pytest.mark.parametrize("host, expected", [
    ("gpu", {"hostname": "gpu-server.example.com", "port": 2222, "user": "alice", "identitiesonly": "yes",
             "hostkeyalias": "from-include"}),
    ("a.lab",
     {"hostname": "a.lab.example.org", "user": "lab", "proxyjump": "alice@gate:2200,second", "port": 22}),
    ("bad.lab", {"hostname": "bad.lab", "user": "everyone"}),
    ("included", {"hostname": "inside.example.com", "user": "everyone"}),
    pytest.param("matched", {"port": 99}, marks=pytest.mark.posix),         # `test` is a program there
    ("proxied", {"proxycommand": 'nc -X connect "proxied" 22 # not a comment'}),
    ("unknown.host", {"hostname": "unknown.host", "user": "everyone", "port": 22}),
])
def test_what_applies_to_a_host(folder, host, expected):
    found = look(host, folder)
    assert {key: found.get(key) for key in expected} == expected


def test_identity_files_add_up_with_the_home_filled_in(folder):
    assert list(map(Path, look("gpu", folder)["identityfile"])) == [folder / "id_gpu", folder / "with space"]


def test_what_the_caller_says_wins(folder):
    found = look("gpu", folder, user="bob", port=7)
    assert (found["user"], found["port"]) == ("bob", 7) and "identitiesonly" not in found


@pytest.mark.parametrize("host", ["gpu", "gpu-alias", "a.lab", "bad.lab", "matched", "unknown.host", "GPU"])
def test_we_agree_with_openssh(folder, host):
    # with -F ssh looks for Include beside ~/.ssh of the password file, so the copy for it names the folder
    (folder / "for_ssh").write_text(CONFIG.replace("extra.d", str(folder / "extra.d")))
    told = subprocess.run(["ssh", "-G", "-F", str(folder / "for_ssh"), host], capture_output=True, text=True,
                          check=True).stdout
    theirs = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
    ours = look(host, folder)
    assert ours["hostname"] == theirs["hostname"] and str(ours["port"]) == theirs["port"]
    assert ours["user"] == theirs["user"]
    assert ours.get("proxyjump") == theirs.get("proxyjump")
    assert ours.get("identitiesonly", "no") == theirs["identitiesonly"]


def test_an_include_below_a_host_line_holds_only_there(folder):
    (folder / "config").write_text("Host a\n  Include inner\nHost *\n  User rest\n")
    (folder / "inner").write_text("User inner\nHost b\n  Port 5\n")
    assert look("a", folder)["user"] == "inner"
    assert look("b", folder) == {"hostname": "b", "user": "rest", "port": 22}


def test_match_final_sees_the_final_host_name(folder):
    (folder / "config").write_text(
        "Host short\n  HostName long.example.com\nMatch final host long.example.com\n  User final\n")
    assert look("short", folder)["user"] == "final"


def test_a_circle_of_includes_and_a_lone_quote_are_told(folder):
    (folder / "config").write_text("Include config\n")
    with pytest.raises(UsageError, match="deep"):
        look("x", folder)
    (folder / "config").write_text('Host "x\n')
    with pytest.raises(UsageError, match="config:1"):
        look("x", folder)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from('HostMachuser=*?!"# \n\t%\\gpux,'), max_size=200))
def test_no_config_breaks_the_reader(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text(text)
        try:
            found, names = user_config.lookup("gpu", paths=[path], folder=folder,
                                              commands=False), user_config.hosts([path], folder)
        except UsageError as error:
            assert "config" in str(error)
        else:
            assert isinstance(found["hostname"], str) and isinstance(found["port"], int)
            assert "*" not in "".join(names)


def test_names_offered_to_the_form(folder):
    assert user_config.hosts(folder=folder) == ["included", "gpu", "gpu-alias", "proxied"]
    assert user_config.hosts(folder=folder / "nowhere") == []


@pytest.mark.parametrize("text, hops", [
    ("gate", [("gate", "", None)]),
    ("a@b@gate:2200,second", [("gate", "a@b", 2200), ("second", "", None)]),
    ("ssh://u@[::1]:22/", [("::1", "u", 22)]),
])
def test_hops_of_a_jump(text, hops):
    assert user_config.jumps(text) == hops


@pytest.mark.parametrize("text", ["", "a,,b", "host:port", "host:0"])
def test_a_jump_that_is_none(text):
    with pytest.raises(UsageError):
        user_config.jumps(text)


def calls(function):
    """Return how many Python functions are called while `function()` runs."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event == "call"
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


MANY_HOSTS = {
    "one line": lambda n: "Host " + " ".join(f"h{i}" for i in range(n)) + "\n  User u\n",
    "a line each": lambda n: "".join(f"Host h{i}\n  User u\n" for i in range(n)),
    "one line with a pattern": lambda n: "Host *.d " + " ".join(f"h{i}" for i in range(n)) + "\n  User u\n",
    "a pattern each": lambda n: "".join(f"Host h{i} h{i}.*\n  User u\n" for i in range(n)),
    "a pattern each that no host fits": lambda n: "".join(f"Host w{i}*\n  User u\nHost h{i} !w{i}*\n"
                                                          for i in range(n)),
    "patterns of one beginning": lambda n: "".join(f"Host w*-{i}\n  User u\nHost h{i}\n" for i in range(n)),
    "a Match originalhost each": lambda n: "".join(f"Match originalhost h{i}\n  User u\nHost h{i}\n"
                                                   for i in range(n)),
    "a Match host each": lambda n: "".join(f"Host h{i}\n  HostName a{i}\nMatch host a{i}\n  User u\n"
                                           for i in range(n)),
    "an Include under each": lambda n: "".join(f"Host h{i}\n  Include common\n" for i in range(n)),
    "many lines of one keyword": lambda n: "".join(f"SetEnv A{i}=1\n" for i in range(n))
    + "".join(f"Host h{i}\n" for i in range(n)),
    "between Match and Include": lambda n: "Match originalhost h1,h2\n  User v\nInclude more\n"
    + "".join(f"Host h{i}\n" for i in range(n)),
}


def test_a_host_in_each_of_many_files_is_found_by_its_name(folder):
    (folder / "many").mkdir()
    for i in range(300):
        (folder / "many" / f"{i:03}").write_text(f"Host f{i}\n  User u{i}\n")
    (folder / "config").write_text("Include many/*\nHost *\n  Port 2222\n")
    files = user_config.Files()
    found = {name: user_config.lookup(name, paths=[folder / "config"], folder=folder, files=files)
             for name in ("f0", "f299")}
    assert {name: (options["user"], options["port"]) for name, options in found.items()} == {
        "f0": ("u0", 2222), "f299": ("u299", 2222)}
    look = calls(lambda: user_config.lookup("f7", paths=[folder / "config"], folder=folder, commands=False,
                                            files=files))
    assert look < 200, "it reads the files of no other host"


def test_a_file_that_comes_into_an_included_folder_or_goes_is_seen(folder):
    (folder / "many").mkdir()
    (folder / "config").write_text("Include many/*\n")
    for age in (0, 3600):
        os.utime(folder / "many", (time.time() - age,) * 2)
        files = user_config.Files()
        assert user_config.hosts([folder / "config"], folder, files) == [] and files.unchanged()
        (folder / "many" / "new").write_text("Host new\n")
        assert not files.unchanged()
        (folder / "many" / "new").unlink()
        files = user_config.Files()
        user_config.hosts([folder / "config"], folder, files)


CONDITIONS = """Host gpu? !gpu3
  HostName %h.lab
Match host gpu1.lab
  User of-the-name
  Include inner
Match originalhost gpu2
  HostName too-late
  User original
Match final host gpu2.lab
  HostName never
  Port 2202
Host *1
  Port 2201
  Include inner
"""


@pytest.mark.parametrize("host", ["gpu1", "gpu2", "gpu3", "x1", "other"])
def test_conditions_hold_as_openssh_finds_them_when_their_line_comes(folder, host):
    (folder / "inner").write_text(
        "Host gpu*\n  IdentityFile /of-gpu\nMatch host *.lab,x1\n  IdentityFile /of-lab\n")
    (folder / "config").write_text(CONDITIONS.replace("inner", str(folder / "inner")))
    for name in ("inner", "config"):
        (folder / name).chmod(0o600)
    ours = user_config.lookup(host, paths=[folder / "config"], folder=folder, commands=False)
    text = subprocess.run(["ssh", "-G", "-F", folder / "config", host], capture_output=True, text=True,
                          check=True).stdout
    lines = [line.split(" ", 1) for line in text.splitlines()]
    theirs, keys = dict(lines), [value for keyword, value in lines
                                 if keyword == "identityfile" and value.startswith("/of-")]
    assert ([ours["hostname"], ours["user"], str(ours["port"]), ours.get("identityfile", [])]
            == [theirs["hostname"], theirs["user"], theirs["port"], keys])


@pytest.mark.few(4)
@pytest.mark.parametrize("shape", MANY_HOSTS)
def test_twice_the_hosts_are_twice_the_work(folder, shape):
    def work(n):
        (folder / "config").write_text(MANY_HOSTS[shape](n))
        files = user_config.Files()
        names = user_config.hosts([folder / "config"], folder, files)
        assert [name for name in names if name[1:].isdigit()] == [f"h{i}" for i in range(n)]
        look = [user_config.lookup(name, paths=[folder / "config"], folder=folder, commands=False,
                                   files=files) for name in names]
        assert len(look) == n
    assert calls(lambda: work(400)) < 3 * calls(lambda: work(200))
