"""What the server is asked through its login shell: whether it runs commands, its time, Python code; answers
between markers.

The command lines hold only what sh, csh, fish and their kin read alike: words, `;` and single quotes around
letters. What could need quoting travels on standard input. A shell's greeting, a ~/.bashrc that prints and a
message of the day are passed over.
"""

import base64
import re
import secrets

from runicorn.errors import DeniedError, LineError, LoginError, RemoteError, SftpError

# Echoed back, the quotes are still in it
PROBE = "echo runi'corn'-is; date +%s; python3 -V; echo runi'corn'-done"
PYTHONS = ("python3", "python")
OLDEST = 3, 6               # of Python, for our manifest
NOT_THERE = (1, 126, 127)   # csh's, sh's and fish's exit statuses for a command that can't be run
EXPIRED = re.compile(r"[Pp]assword (change required|has expired|expired)|change your password")
FAILURE = 4                 # SSH_FX_FAILURE
# -I: nothing of the user's folder or environment is imported. A shell that takes our input for commands ends
# at
# the first line, csh at the second.
BOOT = """"exit"
exit = 0
import sys
out = getattr(sys.stdout, "buffer", sys.stdout)
out.write(("{mark} %d.%d.%d\\n" % sys.version_info[:3]).encode("ascii"))
out.flush()
if sys.version_info >= {oldest}:
    import base64, io
    sys.argv[1:] = {arguments}
    sys.stdin = io.TextIOWrapper(io.BytesIO(base64.b64decode("{data}")))
    try:
        exec({source}, {{"__name__": "__main__"}})
    finally:
        sys.stdout.flush()
        out.write(b"\\n{mark}")
        out.flush()
"""


def probe(remote, timeout=20):
    """Return (the server's clock in s, its python3's version as it prints it), "" for what it does not tell.

    Raises DeniedError where no commands run, LineError where they do not end in time.
    """
    status, out, errors = remote.run(PROBE, timeout=timeout)
    text = out.decode("utf-8", "replace")
    match = re.search(r"(?s).*runicorn-is\s*?\n(.*)runicorn-done", text)
    if not match:
        words = _last(errors) or _last(out)
        raise DeniedError(f"commands do not run there: {words or f'exit status {status}'}", 3, code="exec",
                          said="exec_none", detail=words)
    clock = re.search(r"(?m)^(\d{6,20})\s*$", match[1])
    version = re.search(r"(?m)^Python \d[\w.+ -]*", match[1])
    return clock[1] if clock else "", version[0].strip() if version else ""


def is_old(version):
    """Whether `version` (str, as `python3 -V` prints it) is older than what our program needs (bool)."""
    match = re.search(r"(\d+)\.(\d+)", version)
    return bool(match) and tuple(map(int, match.groups())) < OLDEST


def ended(remote, host, status):
    """Return the error for a server that let us in and ended SFTP at once; a subsystem's standard error is
    dropped by sshd, so the shell's words are asked for by a command. status: the exit status (int), None
    where there was none."""
    try:
        probe(remote)
        words = ""
    except RemoteError as error:
        words = getattr(error, "values", {}).get("detail") or ""
    detail = words or f"exit status {status}"
    if EXPIRED.search(words):
        return LoginError(f"{host} let us in and wants a new password first ({detail}): log in once in a "
                          f"terminal, `ssh {host}`, " "choose one, then test the connection", code="login",
                          said="password_expired", host=host, detail=detail)
    return RemoteError(f"{host} let us in and ended SFTP at once ({detail}): a login shell that exits, "
                       f"prints or may not run "
                       "/usr/lib/openssh/sftp-server does that; `Subsystem sftp internal-sftp` in its "
                       "sshd_config needs no shell",
                       code="sftp", said="sftp_ended", host=host, detail=detail)


def silent(host, limit):
    """Return the error for a server that let us in and whose SFTP says nothing for `limit` s."""
    return LineError(f"{host} let us in, and SFTP did not begin within {limit:.0f} s: a login shell whose "
                     f"start files wait for "
                     "something, or a home folder that does not answer; `Subsystem sftp internal-sftp` in "
                     "its sshd_config needs no "
                     "shell", code="line", said="sftp_silent", host=host, limit=limit)


def python(remote, source, arguments=(), data=b"", timeout=60):
    """Run the Python `source` (str) with `arguments` (str) and standard input `data` (bytes) there, without a
    file; return (version, what it printed as bytes).

    Raises SftpError with the code "exec" where there is no python3 (said: exec_bare), it is too old
    (exec_old) or `source` failed (exec_failed); DeniedError, LineError as run does.
    """
    for name in PYTHONS:
        mark = f"runicorn-{secrets.token_hex(8)}"
        text = BOOT.format(mark=mark, oldest=OLDEST, arguments=ascii(list(arguments)), source=ascii(source),
                           data=base64.b64encode(data).decode())
        status, out, errors = remote.run(f"{name} -I -S -", text.encode("ascii"), timeout=timeout)
        match = re.search(rb"%s (\d+\.\d+\.\d+)\r?\n" % mark.encode(), out)
        version = match[1].decode() if match else ""
        if match and tuple(map(int, version.split(".")))[:2] >= OLDEST:
            return version, _whole(out, match.end(), f"\n{mark}".encode(), status, errors)
        if not match and status not in NOT_THERE:
            break                   # no shell, or one that runs other things
    if version:
        raise SftpError(f"its Python {version} is older than 3.6", FAILURE, code="exec", said="exec_old",
                        python=f"Python {version}")
    detail = _last(errors) or f"exit status {status}"
    raise SftpError(f"no python3 on the server: {detail}", FAILURE, code="exec", said="exec_bare",
                    detail=detail)


def _whole(out, start, mark, status, errors):
    end = out.rfind(mark, start)
    if status or end < 0:
        detail = _last(errors) or f"exit status {status}"
        raise SftpError(f"python3 on the server: {detail}", FAILURE, code="exec", said="exec_failed",
                        detail=detail)
    return bytes(memoryview(out)[start:end])


def _last(raw):
    """Return the last line (str) of what was printed, as far as it is text."""
    lines = "".join(c if c.isprintable() or c == "\n" else " "
                    for c in raw[-2000:].decode("utf-8", "replace")).split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
