"""The demo's server: SSH on loopback that lets one key in, SFTP that can only read. By paramiko; without it
demo_sshd serves."""

import contextlib
import os
import socket
import threading

import paramiko

USER = "alice"
ROOT = "/home/alice/.runicorn/experiments"      # as the SFTP session sees it


class Gate(paramiko.ServerInterface):
    """Lets one key in; offers sessions, so SFTP, and neither a shell nor exec."""

    def __init__(self, login_key):
        self._login_key = login_key

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return (paramiko.AUTH_SUCCESSFUL if (username, key) == (USER, self._login_key)
                else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind, chanid):
        return (paramiko.OPEN_SUCCEEDED if kind == "session"
                else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)


class Files(paramiko.SFTPServerInterface):
    """A folder as "/". Read-only: no method that writes is there, so paramiko answers those requests with
    "not supported"."""

    def __init__(self, server, folder):
        super().__init__(server)
        self._folder = folder

    def _place(self, path):
        target = (self._folder / path.lstrip("/")).resolve()
        return (target if target == self._folder or self._folder in target.parents
                else self._folder / "nowhere")

    def _stat(self, path, read):
        try:
            return paramiko.SFTPAttributes.from_stat(read(self._place(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def canonicalize(self, path):
        return os.path.normpath(os.path.join(f"/home/{USER}", path))

    def lstat(self, path):
        return self._stat(path, os.lstat)

    def stat(self, path):
        return self._stat(path, os.stat)

    def list_folder(self, path):
        try:
            with os.scandir(self._place(path)) as entries:
                return [paramiko.SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name)
                        for entry in entries]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def open(self, path, flags, attr):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return paramiko.SFTP_PERMISSION_DENIED
        try:
            return _Opened(flags, open(self._place(path), "rb", buffering=0))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)


class _Opened(paramiko.SFTPHandle):
    """A file that a client reads; paramiko reads `readfile`."""

    def __init__(self, flags, file):
        super().__init__(flags)
        self.readfile = file

    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


def _accept(listener, host_key, login_key, folder):
    """Let clients in until the listener is closed; runs in a thread of its own, and paramiko adds one for
    each client."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return                              # the listener was closed: the demo ends
        transport = paramiko.Transport(connection)
        transport.add_server_key(host_key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files, folder)
        # a client that went away again
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(event=threading.Event(), server=Gate(login_key))


@contextlib.contextmanager
def serving(folder, home):
    """Serve `folder` as "/" and yield the connection (dict) that reaches it; its key and known_hosts are put
    into `home` (Path)."""
    host_key, login_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    login_key.write_private_key_file(str(home / "id_ecdsa"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_accept, args=(listener, host_key, login_key,
                                               folder), name="demo-sshd", daemon=True).start()
        port = listener.getsockname()[1]
        (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key.get_name()} "
                                          f"{host_key.get_base64()}\n")
        yield {"host": "127.0.0.1", "port": port, "user": USER, "auth": "key", "key": str(home / "id_ecdsa"),
               "remote_root": ROOT}
