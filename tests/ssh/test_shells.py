"""Login shells and Pythons as servers have them: commands are understood by each, noise is passed over, what
is missing has its reason."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pairs import RUN, make_run
from sshd import NO_BASHRC, Sshd

from runicorn import settings
from runicorn.connections import doctor
from runicorn.errors import DeniedError, SftpError
from runicorn.mirror import local_copy, verify
from runicorn.mirror.exec_look import ExecLook
from runicorn.ssh import remote, remote_shell

LOG = logging.getLogger("shells")
HERE = Path(sys.executable).resolve().parent
PYTHON = HERE / "python3"
CHAOS = pytest.mark.chaos
# A login shell: how sshd would call it with the command in "$1".
SHELLS = {
    "tcsh": 'exec tcsh -c "$1"', "fish": 'exec fish -c "$1"',
    "greets": 'echo "Welcome to the cluster, 42"; cat /etc/hostname; sh -c "$1"; echo "Good bye"',
    "dash": 'exec dash -c "$1"', "zsh": 'exec zsh -c "$1"', "rbash": 'exec rbash -c "$1"',
    "csh": 'exec tcsh -f -c "$1"', "bash that echoes": 'exec bash -v -c "$1"',
    "xtrace": 'exec bash -x -c "$1"', "prints no line end": 'printf "> "; sh -c "$1"',
    "prints on stderr": 'echo "quota: 93% used" >&2; exec sh -c "$1"',
    "prints bytes": r'printf "\377\000\033[31m motd\r\n"; exec sh -c "$1"',
    "login shell": 'exec bash -lc "$1"', "fish that greets": 'echo "Welcome to fish"; exec fish -c "$1"',
    "a greeting of 100 kB": 'yes "message of the day" | head -c 100000; exec sh -c "$1"',
    "tcsh with a prompt in .cshrc": 'mkdir -p "$0.d"; '
                                    'printf "set prompt = \\"> \\"\\necho hello from cshrc\\nstty erase '
    'x\\n" >"$0.d/.cshrc"; '
                                    'HOME="$0.d" exec tcsh -c "$1"',
    "a profile that runs another shell": 'mkdir -p "$0.d"; '
                                         'echo "echo profile; zsh -c :" >"$0.d/.bash_profile"; '
                                         'HOME="$0.d" exec bash -lc "$1"',
    "a terminal's colours and title": r'printf "\033]0;gpu-01\007\033[2J"; exec sh -c "$1"',
    "ends with status 3": 'sh -c "$1"; status=$?; echo logout; exit $status',
}
USUAL = ("tcsh", "fish", "greets")
PYTHONS = {
    "missing": ({}, "exec_bare"),
    "3.4":
    ({"python3":
      'case "$*" in *-V*) echo Python 3.4.10; exit;; esac; cat >/dev/null; echo "SyntaxError: no" >&2; '
      'exit 1'},
     "exec_old"),
    "only as python": ({"python": f'exec {PYTHON} "$@"'}, "exec_python"),
    "2 as python": ({"python": 'echo "Unknown option: -I" >&2; exit 2'}, "exec_bare"),
    "with a hook": ({"python3": f'echo "(base) activating"; exec {PYTHON} "$@"'}, "exec_python"),
    "broken":
    ({"python3": 'echo "python3: error while loading shared libraries: libpython3.11.so" >&2; exit 127'},
     "exec_bare"),
}


def shell_server(folder, shell, path=f"{HERE}:/usr/bin:/bin"):
    """Return an Sshd whose commands run through `shell` (sh script; the command is "$1"); SFTP passes it
    by."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shell").write_text(
        f'#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in *sftp*) exec /usr/lib/openssh/sftp-server;; esac\n'
        f'set -- "$SSH_ORIGINAL_COMMAND"\n{shell}\n')
    (folder / "shell").chmod(0o755)
    return Sshd(folder / "sshd", ForceCommand=folder / "shell", SetEnv=f"{NO_BASHRC} PATH={path}")


def asked(line, root):
    """Return the Manifest that python3 on the server makes of a root."""
    look = ExecLook(line, root)
    look.start({}, 0.0)
    return look.take(30.0)[0]


def exec_line(server, home, root, **changes):
    """Return the test's lines by name; every one is there and none fails."""
    lines = []
    connection = settings.checked(server.trusted_in(home).connection(remote_root=str(root), **changes))
    result = doctor.examine(connection, lines.append, home=home)
    assert result["ok"] and {"exec", "clock", "throughput"} <= {line["name"] for line in lines}
    return {line["name"]: line for line in lines}


@pytest.mark.few(1)
@pytest.mark.parametrize("name",
                         [name if name in USUAL else pytest.param(name, marks=CHAOS) for name in SHELLS])
@pytest.mark.parametrize("auth", ["key", pytest.param("system", marks=CHAOS)])
def test_a_shell_understands_all_that_we_ask(tmp_path, home, name, auth):
    root = tmp_path / "it's a \"root\" $HOME !x \\ `y`"
    make_run(root)
    with shell_server(tmp_path, SHELLS[name]) as server:
        options = ["-i", str(server.key), f"-oUserKnownHostsFile={server.known_hosts}"]
        plain = subprocess.run(["ssh", "-p", str(server.port), *options, "127.0.0.1", "echo as ssh does"],
                               capture_output=True, text=True, errors="replace", timeout=30,
                               stdin=subprocess.DEVNULL)
        assert "as ssh does" in plain.stdout
        listed = subprocess.run(["sftp", "-b", "-", "-P", str(server.port), *options, "127.0.0.1"],
                                input=f"ls -1 {tmp_path}\n", capture_output=True, text=True, timeout=30)
        assert listed.returncode == 0 and root.name in listed.stdout
        lines = exec_line(server, home, root, auth=auth)
        assert lines["exec"]["said"] == "exec_python" and lines["clock"]["said"] == "clock_same"
        line = remote.connect(settings.checked(server.connection(auth=auth)), home=home)
        assert asked(line, str(root)).paths() == [RUN]
        mirror = local_copy.LocalCopy(home / "cache" / "x")
        shutil.copytree(root, mirror.folder)
        (root / RUN / "logs.txt").write_text("other")
        files = [(RUN, "logs.txt"), (RUN, "events.jsonl")]
        assert verify.differing(None, line, mirror, str(root), files, LOG) == ([(RUN, "logs.txt")], [])
        line.close()


@pytest.mark.few(2)
@pytest.mark.parametrize("name", PYTHONS)
def test_a_python_that_is_missing_or_old_has_its_reason(tmp_path, home, name):
    stubs, said = PYTHONS[name]
    (tmp_path / "bin").mkdir()
    for tool in ("date", "cat", "sh"):
        os.symlink(shutil.which(tool), tmp_path / "bin" / tool)
    for stub, text in stubs.items():
        (tmp_path / "bin" / stub).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / stub).chmod(0o755)
    make_run(tmp_path / "root")
    with shell_server(tmp_path, 'exec /bin/sh -c "$1"', path=tmp_path / "bin") as server:
        found = exec_line(server, home, tmp_path / "root")
        assert found["exec"]["said"] == said
        assert found["exec"]["ok"] is (True if said == "exec_python" else None)
        assert found["clock"]["ok"] is True and ("3.4" in found["exec"]["text"]) == (name == "3.4")
        line = remote.connect(settings.checked(server.connection()), home=home)
        if said == "exec_python":
            assert asked(line, str(tmp_path / "root")).paths() == [RUN]
        else:
            with pytest.raises(SftpError):
                asked(line, str(tmp_path / "root"))
        line.close()


@pytest.mark.few(1)
@pytest.mark.parametrize("shell, words", [
    ("echo 'fatal: Interactive git shell is not enabled.' >&2; exit 128", "git shell"), ("exit 0", ""),
    ("echo \"you said: $1\"", "you said"), ("exec cat", "")],
                         ids=["git-shell", "silent", "echoes the command", "echoes the input"])
def test_no_commands_is_no_missing_connection(tmp_path, home, shell, words):
    make_run(tmp_path / "root")
    with shell_server(tmp_path, shell) as server:
        line = exec_line(server, home, tmp_path / "root")["exec"]
        assert line["ok"] is None and "no commands" in line["text"] and words in line["text"]
        remoted = remote.connect(settings.checked(server.connection()), home=home)
        assert remoted.probe_exec() is False
        with pytest.raises(DeniedError):
            remote_shell.probe(remoted)
        with pytest.raises(SftpError):
            asked(remoted, str(tmp_path / "root"))
        remoted.close()


def test_a_shell_that_takes_our_program_for_its_commands_runs_none_of_it(tmp_path, home):
    """A menu, or a shell that ignores the command it is given: it reads standard input."""
    (tmp_path / "bin").mkdir()
    for name in ("import", "out", "sys"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    make_run(tmp_path / "root")
    for shell in ("exec bash", "exec tcsh -f", "exec fish"):
        with shell_server(tmp_path / shell.split()[1], shell,
                          path=f"{tmp_path / 'bin'}:/usr/bin:/bin") as server:
            line = remote.connect(settings.checked(server.trusted_in(home).connection()), home=home)
            with pytest.raises(SftpError):
                asked(line, str(tmp_path / "root"))
            line.close()
    assert not (tmp_path / "ran").exists()
