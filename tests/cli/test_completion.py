"""Completion in real shells: keys are typed at a terminal, and what the shell then hands to `runicorn` is
looked at."""

import contextlib
import os
import pty
import select
import sys
import time

import pytest

SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
PATIENCE = 30       # s; a shell answers within milliseconds


class Shell:
    """A shell at a terminal of its own, in `folder`, with the completion loaded and `runicorn` printing its
    arguments."""

    def __init__(self, name, folder, before=""):
        self._child, self._end = pty.fork()
        if self._child == 0:
            os.chdir(folder)
            os.environ.update(TERM="dumb", PS1="> ")
            os.execvp(SHELLS[name][0], SHELLS[name])
        self._seen = ""
        told = "runicorn() { printf '<%s>' \"$@\"; echo ' TO''LD'; }"
        self.typed(f'{before}eval "$({sys.executable} -m runicorn --completion {name})"; {told}; runicorn\n')

    def typed(self, keys):
        """Type `keys`, the last of which runs a command `runicorn`; returns its arguments (list of str)."""
        begin = len(self._seen)
        os.write(self._end, keys.encode())
        deadline = time.monotonic() + PATIENCE
        while "> TOLD" not in self._seen[begin:]:
            assert time.monotonic() < deadline, self._seen
            if select.select([self._end], [], [], 0.1)[0]:
                self._seen += os.read(self._end, 4096).decode(errors="replace")
        line = self._seen[begin:].split("> TOLD")[-2].splitlines()[-1]
        return line[line.index("<") + 1:].split("><")

    def close(self):
        os.write(self._end, b"exit\n")
        with contextlib.suppress(OSError):      # Linux says EIO when the shell has closed its end
            while os.read(self._end, 4096):
                pass
        os.waitpid(self._child, 0)
        os.close(self._end)


@pytest.fixture(params=[("bash", ""), ("zsh", ""), ("zsh", "autoload -Uz compinit; compinit; ")],
                ids=["bash", "zsh", "zsh with compinit"])
def shell(request, tmp_path):
    (tmp_path / "a run.tar.gz").touch()
    shell = Shell(request.param[0], tmp_path, request.param[1])
    yield shell
    shell.close()


@pytest.mark.few(1)
def test_commands_options_and_files_are_completed(shell):
    assert shell.typed("runicorn cac\tcl\t--old\t30d\n") == ["cache", "clean", "--older-than", "30d"]
    assert shell.typed("runicorn con\tss\tad\t--remo\t/data\n") == [
        "config", "ssh", "add", "--remote-root", "/data"]
    assert shell.typed("runicorn generate-m\t--verb\t\n") == ["generate-manifest", "--verbose"]
    assert shell.typed("runicorn --vers\t\n") == ["--version"]
    assert shell.typed("runicorn import a\\ r\t\n") == ["import", "a run.tar.gz"]
