"""The types of what a mirror is handed: a connection's settings, a server, an SFTP client. For who reads, and
for mypy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypedDict


class Options(TypedDict, total=False):
    """A connection as `settings.checked` gives it; see README, "Connections"."""

    name: str
    host: str
    port: int
    user: str
    auth: str                   # key, agent, password, system
    key: str | None             # path of a private key
    remote_root: str            # absolute, or below ~
    mode: str                   # auto, manual
    interval: float             # s between surveys
    manifest: bool              # whether python3 on the server and its manifest files may tell the list
    small_only: bool
    large: bool
    small_limit: int            # bytes; a larger file that is no log waits to be asked for
    window: str | None          # 24h, 7d, or all runs
    enabled: bool
    budget: int | None          # bytes a minute


class Client(Protocol):
    """An SFTP client: ssh.sftp.Sftp, or a test's. One thread's."""

    requests: int

    @property
    def sent(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def max_read(self) -> int: ...
    @property
    def lasting(self) -> int: ...
    @property
    def room(self) -> int: ...
    def ask(self, request: Any, take: Callable[[Any], Any]) -> None: ...
    def call(self, before_sending: Callable[[], None] | None = ...,
             when_full: Callable[[], bool] | None = ...,
             while_idle: Callable[[], bool] | None = ...) -> None: ...
    def send(self) -> None: ...
    def pump(self) -> None: ...
    def batch(self, requests: Iterable[Any]) -> list[Any]: ...
    def lstat(self, path: str) -> Any: ...
    def close(self) -> None: ...


class Remote(Protocol):
    """A server we are logged in at: ssh.remote.Remote, ssh.system_remote.SystemRemote, or a test's. Any
    thread may close it."""

    exec_allowed: bool | None   # None: not tried yet
    host_key: Any

    @property
    def alive(self) -> bool: ...
    @property
    def bytes_sent(self) -> int: ...
    @property
    def bytes_received(self) -> int: ...
    def open_sftp(self, timeout: float = ..., start: str | None = ...,
                  meanwhile: Callable[[], None] | None = ...) -> Any: ...
    def run(self, command: str, stdin: bytes = ..., timeout: float = ...) -> tuple[int, bytes, bytes]: ...
    def second(self) -> Remote: ...
    def close(self) -> None: ...
