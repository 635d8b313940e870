"""What paramiko and sockets say when a channel fails, in our errors. Is handed paramiko, imports it not."""

from runicorn.errors import LineError, RemoteError

# SSH_OPEN_CONNECT_FAILED, …_RESOURCE_SHORTAGE (RFC 4254, 5.1): of a host behind a jump host
FOR_NOW = (2, 4)


class as_line_errors:
    """Turn paramiko's and the socket's errors into a LineError that names `what`, which `host` was to do.
    for_now: the codes of refused channels that are worth another try."""

    def __init__(self, ssh, what, host, for_now=()):
        self.ssh, self.what, self.host, self.for_now = ssh, what, host, for_now

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if isinstance(error, self.ssh.ChannelException) and error.code in self.for_now:
            raise LineError(f"{self.what}: {self.host} could not make it ({error.text})", code="line",
                            said="channel", host=self.host, detail=error.text) from error
        if isinstance(error, self.ssh.ChannelException):
            raise RemoteError(f"{self.what}: the server said no ({error})", code="channel", host=self.host,
                              detail=str(error)) from error
        if isinstance(error, (self.ssh.SSHException, EOFError, OSError)):
            raise LineError(f"{self.what} was cut or did not answer ({error or 'end of stream'})",
                            code="line", host=self.host, detail=str(error) or "end of stream") from error
