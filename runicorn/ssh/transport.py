"""paramiko's Transport as we need it: asks for the login service once, hears all that the server says, keeps
its first bytes.

Is handed paramiko, imports it not. Go's and AsyncSSH's servers hang up at a second service request (RFC 4253,
section 10).
"""

import collections
import functools
import threading

# Characters of what a server says that are kept: its last, after a banner of pages
WORDS = 500
CHANNEL_MESSAGES = range(93, 98)        # WINDOW_ADJUST, DATA, EXTENDED_DATA, EOF, CLOSE (RFC 4254)
CHANNEL_OPEN, CHANNEL_CLOSE = 90, 97
LEGACY = ("diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1")


class Heard:
    """What is ours in an AuthOnlyHandler: adds each banner to what the server said; paramiko keeps the last
    alone. paramiko's thread hears, the one that logs in asks and waits. ssh: paramiko."""

    ssh = None

    def send_auth_request(self, username, method, finish_message=None):
        """As paramiko's, but ready for the answer before it asks: a quick server's was lost."""
        self.auth_method, self.username = method, username
        message = self.ssh.Message()
        message.add_byte(self.ssh.common.cMSG_USERAUTH_REQUEST)
        for text in (username, "ssh-connection", method):
            message.add_string(text)
        if finish_message:
            finish_message(message)
        event = self.auth_event = threading.Event()
        with self.transport.lock:
            self.transport._send_message(message)
        return self.wait_for_response(event)

    def _parse_userauth_banner(self, m):
        super()._parse_userauth_banner(m)
        banner = self.banner
        self.transport.hear(banner.decode("utf-8", "replace") if isinstance(banner, bytes) else str(banner))


class Transport:
    """What is ours in a ServiceRequestingTransport. `words` (str): the last of the server's banners and
    parting words; `heard`: how many there were. `disconnected`: whether the server said that it hangs up.
    `peer_kex` (str or None): the key exchanges it offers. Any thread may ask for a channel or send on one;
    paramiko's own thread, one for each Transport, hears what the server says."""

    ssh = handler = None            # paramiko, and its handler of logins with what is ours in that

    def __init__(self, *args, **options):
        self.words, self.heard, self.disconnected, self.peer_kex = "", 0, False, None
        self._service_asked, self._meanwhile = False, None
        self._sending, self._closed = threading.Lock(), set()       # of channels, by the server's numbers
        super().__init__(*args, **options)

    def await_handshake(self, seconds):
        """Wait so long for the server's first words, and for its keys."""
        self.banner_timeout = self.handshake_timeout = seconds

    def await_login(self, seconds):
        """Wait so long for each answer at the login; returns how long it was before."""
        before, self.auth_timeout = self.auth_timeout, seconds
        return before

    def at_next_channel(self, meanwhile):
        """Call `meanwhile` (None: nothing) once the next channel was asked for."""
        self._meanwhile = meanwhile

    def hear(self, text):
        lines = (" ".join("".join(c if c.isprintable() else " " for c in line).split())
                 for line in text.splitlines())
        text = " ".join(dict.fromkeys(filter(None, lines))).rstrip(".")     # of lines that are repeated, one
        if text:
            self.heard += 1
            words = f"{self.words} / {text}" if self.words else text
            self.words = words if len(words) <= WORDS else "…" + words[-WORDS:]

    def get_auth_handler(self):
        return self.handler(self)

    def ensure_session(self):
        """Ask for the login service, once, and wait for nothing: what is asked next travels with it, and its
        answer tells. paramiko's own waits a turn for the answer, for ever where the line breaks."""
        if self._service_asked:
            return
        if not self.is_active() or not self.initial_kex_done:
            raise self.ssh.SSHException("No existing session")
        self._service_asked = True
        self.auth_handler = self.get_auth_handler()
        message = self.ssh.Message()
        message.add_byte(self.ssh.common.cMSG_SERVICE_REQUEST)
        message.add_string("ssh-userauth")
        self._send_message(message)

    def begin(self, channel, kind, name):
        """Ask for a subsystem or a command on an open `channel` and wait for nothing: the server reads what
        is sent next as its input.
        kind, what: "subsystem", "sftp" or "exec", a command (str). A refused one's channel is closed, not
        `event_ready`.

        Servers other than OpenSSH are waited for: ProFTPD hangs up at input for what it refused."""
        message = self.ssh.Message()
        message.add_byte(self.ssh.common.cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(True)
        message.add_string(name)
        channel._event_pending()
        self._send_user_message(message)
        if "OpenSSH" not in self.remote_version:
            channel.event.wait(channel.gettimeout())

    def _send_message(self, data):
        """Send nothing on a channel after its CLOSE: sshd hangs up at that. The thread that reads may send
        the CLOSE in the moment in which another one is about to send data or an EOF."""
        raw = data.asbytes()
        kind, channel = raw[0], raw[1:5]
        with self._sending:
            if kind in CHANNEL_MESSAGES and channel in self._closed:
                return
            if kind == CHANNEL_CLOSE:
                self._closed.add(channel)
            super()._send_message(data)

    def _send_user_message(self, data):
        super()._send_user_message(data)
        if self._meanwhile and data.asbytes()[0] == CHANNEL_OPEN:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()

    def _parse_channel_open_success(self, m):
        m.get_int()
        number = m.get_int().to_bytes(4, "big")
        with self._sending:
            self._closed.discard(number)    # the server uses its numbers again
        m.rewind()
        super()._parse_channel_open_success(m)

    def _parse_disconnect(self, m):
        self.disconnected = True
        m.get_int()
        self.hear(m.get_text())
        m.rewind()
        super()._parse_disconnect(m)

    def _log(self, level, msg, *args):
        if isinstance(msg, str) and msg.startswith("kex algos: "):
            self.peer_kex = msg.partition(": ")[2]
        super()._log(level, msg, *args)


class Packetizer:
    """What is ours in paramiko's: the handshake ends once, not with each packet."""

    def __init__(self, *args):
        super().__init__(*args)
        self._shaking = False

    def start_handshake(self, timeout):
        self._shaking = True
        super().start_handshake(timeout)

    def complete_handshake(self):
        if self._shaking:
            self._shaking = False
            super().complete_handshake()


class Chunks:
    """What is ours in a BufferedPipe, which a channel's bytes wait in to be read; paramiko's own moves all of
    them whenever some are read. Any thread may read, paramiko's feeds."""

    ssh = None

    def __init__(self):
        super().__init__()
        self._chunks = collections.deque()

    def feed(self, data):
        with self._lock:
            if self._event is not None:
                self._event.set()
            self._chunks.append(data)
            self._cv.notify_all()

    def read_ready(self):
        return bool(self._chunks)

    def read(self, nbytes, timeout=None):
        """Return at most so many bytes, b"" at the end. Raises PipeTimeout after `timeout` s without any."""
        with self._lock:
            if not self._cv.wait_for(lambda: self._chunks or self._closed, timeout):
                raise self.ssh.buffered_pipe.PipeTimeout()
            pieces = self._take(nbytes)
            if self._event is not None and not self._chunks and not self._closed:
                self._event.clear()
            return pieces

    def _take(self, count):
        chunks, pieces = self._chunks, []
        while chunks and count >= len(chunks[0]):
            count -= len(chunks[0])
            pieces.append(chunks.popleft())
        if chunks and not pieces:
            pieces, chunks[0] = [chunks[0][:count]], chunks[0][count:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def empty(self):
        with self._lock:
            joined = b"".join(self._chunks)
            self._chunks.clear()
            if self._event is not None and not self._closed:
                self._event.clear()
            return joined

    def __len__(self):
        with self._lock:
            return sum(map(len, self._chunks))


@functools.lru_cache(1)
def transport_class(ssh):
    """Return paramiko's Transport with what is ours; ssh: the module paramiko."""
    handler = type("Heard", (Heard, ssh.auth_handler.AuthOnlyHandler), {"ssh": ssh})
    packets = type("Packetizer", (Packetizer, ssh.packet.Packetizer), {})
    return functools.partial(type("Transport", (Transport, ssh.ServiceRequestingTransport),
                                  {"ssh": ssh, "handler": handler}), packetizer_class=packets)


@functools.lru_cache(1)
def buffer_class(ssh):
    """Return paramiko's BufferedPipe with what is ours; ssh: the module paramiko."""
    return type("Chunks", (Chunks, ssh.buffered_pipe.BufferedPipe), {"ssh": ssh})


def take_chunks(ssh, channel):
    """Have what comes on a channel that was just opened, and on which nothing came yet, wait in Chunks."""
    channel.in_buffer = buffer_class(ssh)()
    if channel.closed or channel.eof_received:      # before it could be told
        channel.in_buffer.close()


def is_legacy(kex):
    """Whether a server that offers these key exchanges (str, as in `peer_kex`) speaks nothing newer than
    SHA-1."""
    names = [name.strip() for name in (kex or "").split(",")
             if name.strip() and "ext-info" not in name and "strict" not in name]
    return bool(names) and all(name in LEGACY for name in names)
