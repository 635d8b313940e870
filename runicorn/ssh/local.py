"""What is each system's own in SSH: where ssh's files for all users are, the agents' doors, a process's pipes
as one socket."""

import contextlib
import ntpath
import os
import signal
import socket
import subprocess
import threading
import time

from runicorn import local_disk

WINDOWS = os.name == "nt"
PIPES = "\\\\.\\pipe\\"         # where Windows' named pipes are
BUSY_SECONDS = 2.0              # for another program's talk with an agent


def system_file(name, environ=os.environ, windows=WINDOWS):
    """Return the path (str) of ssh's file `name` for all users of this machine, os.devnull where there is no
    place for one.

    On Windows that is below %ProgramData% alone: any user of the machine may make C:\\etc, and a `Match exec`
    there runs commands.
    """
    if not windows:
        return f"/etc/ssh/{name}"
    folder = environ.get("ProgramData", "")
    return (ntpath.join(folder, "ssh", name) if ntpath.isabs(folder) and ntpath.splitdrive(folder)[0]
            else os.devnull)


def expanded(path, environ=os.environ):
    """Return a path of an SSH config with what OpenSSH for Windows writes for that folder."""
    return path.replace("__PROGRAMDATA__", environ.get("ProgramData", "__PROGRAMDATA__"))


def others_may_change(path, windows=WINDOWS):
    """Whether somebody but root and us may write the file `path` (bool), by its owner and mode; a group of
    ours alone is nobody else."""
    try:
        status = os.stat(path)
    except OSError:
        return False            # absent or closed: there is nothing to read
    if windows:
        return False            # the rights there are in lists, which a mode does not show
    return status.st_uid not in (0, os.getuid()) or bool(status.st_mode & 0o002) or (
        bool(status.st_mode & 0o020) and not _only_ours(status.st_gid))


def _only_ours(group):
    # as Debian's and Fedora's ssh: their users have a group each, and write for it by default
    import grp
    import pwd
    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(group).gr_mem}
    except KeyError:
        return False
    # Some have it first
    return members | {user.pw_uid for user in pwd.getpwall() if user.pw_gid == group} == {os.getuid()}


# -- agents --------------------------------------------------------------------------------------------------

def usual_agent(environ=os.environ, windows=WINDOWS):
    """Return the named pipe that SSH_AUTH_SOCK names on Windows, or None: paramiko knows the usual agents
    itself."""
    path = environ.get("SSH_AUTH_SOCK", "")
    return path if windows and is_pipe(path) else None


def is_pipe(path):
    """Whether a path (str) is one of a named pipe of this machine, as agents of Windows have."""
    return ntpath.normcase(path).startswith(PIPES)


def agent_line(path, windows=WINDOWS):
    """Return a line to the agent at `path`, with send, recv and close: a Unix socket, on Windows a named
    pipe. Raises OSError."""
    if windows:
        if not is_pipe(path):
            raise OSError(f"{path} is no named pipe ({PIPES}…), which agents on Windows have")
        return _PipeLine(ntpath.normpath(path))
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(path)
    except OSError:
        line.close()
        raise
    return line


class _PipeLine:
    """A named pipe as the line to an agent."""

    def __init__(self, path):
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
                return
            # Every instance of the pipe may be in use just now, which is said as EINVAL
            except OSError as error:
                if error.errno != 22 or time.monotonic() > until:
                    raise
            time.sleep(0.05)

    def send(self, data):
        return os.write(self._descriptor, data)

    def recv(self, size):
        return os.read(self._descriptor, size)

    def close(self):
        os.close(self._descriptor)


# -- processes -----------------------------------------------------------------------------------------------

def shell_words(command, replaced=False, environ=os.environ, windows=WINDOWS):
    """Return what runs a command of the config as ssh does: by the user's own shell, whose place it takes if
    `replaced`. That is a list of str, on Windows one line (str), as quotes are the program's own affair
    there."""
    if windows:
        return f'{environ.get("ComSpec") or "cmd.exe"} /d /s /c "{command}"'
    return [environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}" if replaced else command]


def started(command, errors, apart=False, windows=None):
    """Start a process; returns (subprocess.Popen, a socket that is its input and output). Raises OSError.

    command: as subprocess takes it. errors: a descriptor for its standard error. apart: in a session of its
    own, without a terminal to ask questions on.
    """
    ours, theirs = socket.socketpair()
    try:
        if WINDOWS if windows is None else windows:
            flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess,
                                                                         "CREATE_NEW_PROCESS_GROUP", 0)
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                       bufsize=0, creationflags=flags)
            _bridge(process, theirs)
        else:
            process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=errors,
                                       start_new_session=apart)
            theirs.close()
    except OSError as error:
        ours.close()
        theirs.close()
        program = command if isinstance(command, str) else command[0]
        # Windows does not say what it did not find
        raise local_disk.about(error, program, None) from error
    return process, ours


def _bridge(process, theirs):
    """Carry bytes between a process's pipes and a socket, in two threads: on Windows a socket can't be a
    process's input."""
    feeder = threading.Thread(target=_feed, args=(theirs, process.stdin), name="input of ssh", daemon=True)
    feeder.start()
    threading.Thread(target=_drain, args=(process.stdout, theirs,
                                          feeder), name="output of ssh", daemon=True).start()


def _feed(source, sink):
    with contextlib.suppress(OSError), sink:        # the process is gone, or our side
        for data in iter(lambda: source.recv(1 << 16), b""):
            view = memoryview(data)
            while view:
                view = view[sink.write(view):]


def _drain(source, sink, feeder):
    with contextlib.suppress(OSError), source:
        for data in iter(lambda: source.read(1 << 16), b""):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    feeder.join()
    sink.close()


def end(process, apart, seconds):
    """End a process, and what it started where it has a session of its own (on Windows always)."""
    if WINDOWS:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds,
                           creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
        process.kill()
        process.wait()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):       # it ended just now
            os.killpg(process.pid, number) if apart else process.send_signal(number)
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            continue
