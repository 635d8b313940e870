"""A WSGI server for one person's pages: many waiting requests, slow and idle sockets that cost nothing. Knows
no route.

One thread accepts and gathers request heads; a request whose head is whole gets a thread, and after its
answer the connection goes back to wait for the next head. So a thousand idle or dripping sockets hold no
thread, and each is closed at its deadline.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import io
import logging
import os
import selectors
import socket
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler

from runicorn.errors import BusyError
from runicorn.viewer.shortage import Spare, more_files, refusal

if TYPE_CHECKING:
    from typing import Any

HEAD_SECONDS = 10.0         # a request's head must have come by then, the next one on a kept connection too
BODY_SECONDS = 20.0         # … and its body
SEND_SECONDS = 30.0         # a client that takes nothing for so long is given up
HEAD_LIMIT = 64 << 10       # bytes of a request's head
MOST_WAITING = 2000         # sockets without a whole head; beyond, the oldest is closed
MOST_AT_WORK = 600          # requests being answered, long polls included
BREATH = 0.05               # s of pause where no connection can be accepted
SAID_AGAIN = 60.0           # s between two words about it
HEARING = 0.5               # s for the head of a request that is refused unread
PATIENCE = 1.0              # s for which a client waits to be taken before it is told that it can't be
SEND_BUFFER = 64 << 10      # bytes of head and body that leave in one piece
RESERVED = 10013            # WSAEACCES
# Sockets without a whole head where only select watches them, which takes 512 on Windows
SELECTABLE = 500

log = logging.getLogger("runicorn")


class HttpServer:
    """Serves `app` on every socket in `listeners`. `serve_forever` blocks; `stop` may be called from any
    thread."""

    def __init__(self, app, listeners):
        self.app, self.listeners = app, listeners
        self.base_environ = {"SERVER_NAME": "runicorn", "GATEWAY_INTERFACE": "CGI/1.1",
                             "SERVER_PORT": str(self.port), "REMOTE_HOST": "", "CONTENT_LENGTH": "",
                             "SCRIPT_NAME": ""}
        self._waiting = {}                  # socket -> _Head, oldest first
        self._most_waiting = (SELECTABLE if selectors.DefaultSelector is selectors.SelectSelector
                              else MOST_WAITING)
        self._since = weakref.WeakKeyDictionary()       # socket -> when it was taken, Unix s
        self._answered = collections.deque()        # sockets that may bring another request
        self._at_work = threading.BoundedSemaphore(MOST_AT_WORK)
        # Of beginning and stopping: one is first
        self._stopping, self._turn = threading.Event(), threading.Lock()
        self._said_at = float("-inf")       # when a trouble was said last
        self._full_since = None             # since when no connection could be accepted, monotonic s
        self._spare = Spare()               # given up to tell a client so
        self._loop = None                   # the thread in serve_forever
        self._wake, self._woken = socket.socketpair()

    @property
    def port(self) -> int:
        return self.listeners[0].getsockname()[1]

    def since(self, connection: Any) -> float:
        """Return when a connection was taken (Unix s)."""
        return self._since[connection]

    def serve_forever(self):
        """Answer until `stop`, also one that came before."""
        more_files()
        with self._turn:
            if self._stopping.is_set():
                return
            self._loop = threading.current_thread()
        with selectors.DefaultSelector() as selector:
            for listener in self.listeners:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, self._accept)
            selector.register(self._woken, selectors.EVENT_READ, self._take_back)
            self._spare.keep()
            try:
                while not self._stopping.is_set():
                    for key, _ in selector.select(1.0):
                        if key.fileobj.fileno() >= 0:       # not closed by what was handled just before
                            key.data(selector, key.fileobj)
                    self._close_late(selector, time.monotonic())
            finally:
                for connection in (*self._waiting, *self._answered):
                    connection.close()
                self._spare.give_up()
                self._loop = None

    def stop(self) -> None:
        """End `serve_forever`, if it runs, and free the port."""
        with self._turn:
            if self._stopping.is_set():
                return
            self._stopping.set()
            loop = self._loop
        self._wake.send(b"x")
        if loop not in (None, threading.current_thread()):
            loop.join(5)
        for end in (*self.listeners, self._wake, self._woken):
            end.close()

    def _accept(self, selector, listener):
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            self._refuse_for_now(selector, listener, error)
            return
        self._full_since = None
        self._since[connection] = time.time()
        # An answer never waits for the peer's acknowledgement
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await(selector, connection)

    def _refuse_for_now(self, selector, listener, error):
        """No connection could be accepted: make room, say so, and go on; the client waits in the listener's
        queue meanwhile, and if it is there for long it is told."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if error.errno in (errno.EMFILE, errno.ENFILE) and self._waiting:
            self._drop(selector, next(iter(self._waiting)))
        elif now - self._full_since > PATIENCE:
            self._tell(listener)
        self._say(f"a request could not be taken ({error.strerror or error}); the viewer goes on with those "
                  f"it has")
        # The listener stays readable: without a pause this loop would burn a core
        self._stopping.wait(BREATH)

    def _tell(self, listener):
        """Tell the first client in a listener's queue that it can't be answered, with the descriptor that was
        kept for that."""
        self._spare.give_up()
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(HEARING)
            with contextlib.suppress(OSError):
                connection.recv(HEAD_LIMIT)         # what is left unread would cost the client the answer
            self._refuse(connection)
        self._spare.keep()

    def _refuse(self, connection):
        with contextlib.suppress(OSError):
            connection.send(refusal())
        _hang_up(connection)

    def _say(self, sentence):
        """Say a trouble on stderr, the same kind at most once a minute."""
        now = time.monotonic()
        if now - self._said_at >= SAID_AGAIN:
            self._said_at = now
            print(f"runicorn: {sentence}", file=sys.stderr, flush=True)

    def _await(self, selector, connection):
        """Gather the next head of a connection."""
        connection.setblocking(False)
        self._waiting[connection] = _Head(time.monotonic() + HEAD_SECONDS)
        selector.register(connection, selectors.EVENT_READ, self._gather)
        if len(self._waiting) > self._most_waiting:
            self._drop(selector, next(iter(self._waiting)))

    def _take_back(self, selector, woken):
        woken.recv(4096)
        while self._answered and not self._stopping.is_set():
            self._await(selector, self._answered.popleft())

    def _gather(self, selector, connection):
        head = self._waiting[connection]
        try:
            data = connection.recv(16384)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        head.take(data)
        if not data or len(head.data) > HEAD_LIMIT:
            self._drop(selector, connection)
        elif b"\r\n\r\n" in head.data or b"\n\n" in head.data:
            del self._waiting[connection]
            selector.unregister(connection)
            self._begin(connection, bytes(head.data))

    def _drop(self, selector, connection):
        del self._waiting[connection]
        selector.unregister(connection)
        connection.close()

    def _close_late(self, selector, now):
        self._spare.keep()
        while self._waiting:
            oldest = next(iter(self._waiting))
            if self._waiting[oldest].deadline > now:
                return
            self._drop(selector, oldest)

    def _begin(self, connection, head):
        if not self._at_work.acquire(blocking=False):
            self._refuse(connection)        # the client tries again; queueing would only hide it
            return
        try:
            threading.Thread(target=self._answer, args=(connection,
                                                        head), name="request", daemon=True).start()
        except (RuntimeError, MemoryError, OSError) as error:       # "can't start new thread"
            self._at_work.release()
            self._refuse(connection)
            self._say(f"a request was refused ({error}); the viewer goes on with those it has")

    def _answer(self, connection, head):
        reusable = False
        try:
            connection.settimeout(SEND_SECONDS)
            reusable = _Request(connection, head, self).kept
        except OSError:
            pass                            # the client went away: nobody is left to tell
        finally:
            self._at_work.release()
            if not reusable or not self._give_back(connection):
                _hang_up(connection)

    def _give_back(self, connection):
        """Hand a connection to the loop for its next request; returns False if the loop is ending."""
        if self._stopping.is_set():
            return False
        self._answered.append(connection)
        try:
            self._wake.send(b"x")
        except OSError:
            pass                            # stopped just now; serve_forever closes what is in the queue
        return True


def _hang_up(connection):
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass                                # it was gone already
    connection.close()


class _Head:
    """The bytes of a request's head that came so far, and until when the rest may come."""

    __slots__ = ("data", "deadline")

    def __init__(self, deadline):
        self.data, self.deadline = bytearray(), deadline

    def take(self, data):
        self.data += data


class _Rest(io.RawIOBase):
    """What came already, then what the socket brings until the body's deadline."""

    def __init__(self, head, connection):
        self._head, self._connection, self._deadline = (memoryview(head), connection,
                                                        time.monotonic() + BODY_SECONDS)

    def readable(self):
        return True

    def readinto(self, into):
        if self._head:
            count = min(len(into), len(self._head))
            into[:count], self._head = self._head[:count], self._head[count:]
            return count
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the body took too long")
        self._connection.settimeout(seconds)
        try:
            return self._connection.recv_into(into)
        finally:
            self._connection.settimeout(SEND_SECONDS)


class _Request(WSGIRequestHandler):
    """Parses one request and runs the application. `kept`: whether the connection may bring another one."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection, head, server):
        self._head, self.kept = head, False
        super().__init__(connection, connection.getpeername(), server)

    def setup(self):
        self.connection = self.request
        self.rfile = io.BufferedReader(_Rest(self._head, self.request))
        self.wfile = self.request.makefile("wb", SEND_BUFFER)

    def handle(self):
        self.raw_requestline = self.rfile.readline(HEAD_LIMIT)
        if not self.parse_request():
            return
        if self.request_version < "HTTP/1.1" or not self._ends_with_its_head():
            self.close_connection = True
        handler = _Handler(self.rfile, self.wfile, sys.stderr, self.get_environ(), multithread=True)
        handler.request_handler = self
        handler.run(self.server.app)
        self.wfile.flush()
        self.kept = handler.whole and not self.close_connection

    def _ends_with_its_head(self):
        """Whether nothing follows the head: what an answer leaves unread would be taken for the next
        request."""
        body = self.headers.get("Content-Length", "0").strip() != "0" or "Transfer-Encoding" in self.headers
        return not body and any(self._head.partition(blank)[1:] == (blank, b"")
                                for blank in (b"\r\n\r\n", b"\n\n"))

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def get_environ(self):
        environ = super().get_environ()
        environ["runicorn.peer"] = self.client_address[:2]
        environ["runicorn.here"] = self.connection.getsockname()[:2]
        environ["runicorn.since"] = self.server.since(self.connection)
        return environ

    def address_string(self):
        return self.client_address[0]

    def log_message(self, format, *args):
        log.debug("%s " + format, self.address_string(), *args)


class _Handler(ServerHandler):
    """Sends one answer. `whole`: it was sent to its end, and the client can tell where that is."""

    server_software = "Runicorn"
    http_version = "1.1"
    whole = False

    def cleanup_headers(self):
        super().cleanup_headers()
        if "Content-Length" not in self.headers:
            self.request_handler.close_connection = True        # a stream ends where the connection does
        if self.request_handler.close_connection:
            self.headers["Connection"] = "close"

    def finish_response(self):
        super().finish_response()
        self.whole = True

    def close(self):
        result, self.result = self.result, None
        if hasattr(result, "close"):
            result.close()
        self.headers, self.environ = None, None

    def log_exception(self, exc_info):
        if not isinstance(exc_info[1], OSError):        # an OSError here is a client that went away
            log.error("a request failed", exc_info=exc_info)


def listen(host: str, port: int) -> list[Any]:
    """Return the listening sockets for `host`: 127.0.0.1 comes with ::1 where there is IPv6. port 0 takes a
    free one.

    Raises BusyError if the port is taken, saying by whom.
    """
    listener = _bound(host, port)
    listeners = [listener]
    if host in ("127.0.0.1", "localhost"):
        try:
            listeners.append(_bound("::1", listener.getsockname()[1]))
        except (OSError, BusyError):
            pass                # no IPv6 here, or somebody has that half: 127.0.0.1 is what we print
    return listeners


def _bound(host, port):
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                             flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise BusyError(f"there is no address {host!r} to listen on; --host takes one of this machine's, "
                        f"such as 127.0.0.1") from error
    listener = socket.socket(family, kind, proto)
    try:
        # An old connection in TIME_WAIT is no reason to refuse. On Windows it never is, and another program
        # could take our port from us.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(256)
        return listener
    except OSError as error:
        listener.close()
        command = f"runicorn viewer --port {free_after(host, port)}"
        if getattr(error, "winerror", None) == RESERVED or error.errno == errno.EACCES:
            raise BusyError(f"port {port} may not be taken: the system keeps it for itself (on Windows "
                            "Hyper-V and WSL reserve some: netsh interface ipv4 show excludedportrange tcp); "
                            f"take another: {command}") from error
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise BusyError(f"{host} is no address of this machine; --host takes one that is, such as "
                            f"127.0.0.1") from error
        if error.errno != errno.EADDRINUSE:
            raise
        raise BusyError(f"port {port} is held by {holder(port)}; take another: {command}") from error


def holder(port):
    """Return in words who listens on a TCP port of this machine: "process 4711 (python3 -m http.server)"."""
    inode = _listening_inode(port)
    for pid in filter(str.isdecimal, os.listdir("/proc")) if inode else ():
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]"
                   for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
                return f"process {pid} ({words[:80]})"
        except OSError:
            continue            # another user's process, or one that just ended
    return "another program"


def _listening_inode(port):
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                for words in map(str.split, file):
                    if words[3:4] == ["0A"] and words[1].endswith(f":{port:04X}"):
                        return words[9]
        except OSError:
            return None         # no /proc on this system
    return None


def free_after(host, port):
    """Return the next port after `port` that is free just now."""
    for candidate in range(port + 1, min(port + 100, 65536)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
                return candidate
            except OSError:
                continue
    return 0
