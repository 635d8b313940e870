"""A small SSH server that asks: passwords, one-time codes, methods in a row. For what a PAM-free sshd cannot
do in a test."""

import socket
import threading

import paramiko

FAILED, PARTLY, GRANTED = paramiko.AUTH_FAILED, paramiko.AUTH_PARTIALLY_SUCCESSFUL, paramiko.AUTH_SUCCESSFUL


class AskingServer(paramiko.ServerInterface):
    """Listens on a free loopback port and serves SFTP to whoever gets through `steps`, methods wanted one
    after another.

    steps: of "publickey", "password", "keyboard-interactive". prompts: [(text, echo, right answer)] of the
    last of these. Public: port, attempts (methods tried, in order), logins (how many got in), key (host key),
    known_hosts (its line, str).
    """

    def __init__(self, steps=("password",), password="open sesame", prompts=(), key=None, exec_output=None):
        self.steps, self.password, self.prompts, self.user_key = list(steps), password, list(prompts), key
        self.exec_output = exec_output
        # what everybody gets; ("banner" | "disconnect" | "silent", words) in place of an answer
        self.banner, self.parting = None, None
        self.attempts, self.logins, self.connections = [], 0, 0
        self.key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.known_hosts = f"[127.0.0.1]:{self.port} {self.key.get_name()} {self.key.get_base64()}\n"
        self._transports = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return          # closed by stop()
            self.connections += 1
            transport = paramiko.Transport(line)
            self._transports.append(transport)
            self.transport = transport
            transport.add_server_key(self.key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer)
            transport.start_server(event=threading.Event(), server=_Session(self))

    def connection(self, **changes):
        """Return a connection (dict as in config.json) to this server."""
        return {"name": "asking", "host": "127.0.0.1", "port": self.port, "user": "alice", "auth": "password",
                **changes}

    def trusted_in(self, home):
        """Put the host key into `home`/known_hosts. Returns self."""
        home.mkdir(parents=True, exist_ok=True)
        with (home / "known_hosts").open("a") as file:
            file.write(self.known_hosts)
        return self

    def stop(self):
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class _Session(paramiko.ServerInterface):
    """One client's way through the steps."""

    def __init__(self, server):
        self.server, self.left = server, list(server.steps)

    def get_allowed_auths(self, username):
        return self.left[0] if self.left else ""

    def get_banner(self):
        return (self.server.banner, "en") if self.server.banner else (None, None)

    def _part(self):
        """Hang up in the middle of the login, with or without a word."""
        how, words = self.server.parting
        message = paramiko.Message()
        if how == "banner":
            message.add_byte(paramiko.common.cMSG_USERAUTH_BANNER)
        elif how == "disconnect":
            message.add_byte(paramiko.common.cMSG_DISCONNECT)
            message.add_int(2)
        if how != "silent":
            message.add_string(words)
            message.add_string("en")
            self.server.transport._send_message(message)
        self.server.transport.sock.shutdown(socket.SHUT_WR)
        self.server.transport.close()

    def _passed(self, method, right):
        if self.server.parting:
            self._part()
        self.server.attempts.append(method)
        if not right or not self.left or self.left[0] != method:
            return FAILED
        self.left.pop(0)
        self.server.logins += not self.left
        return PARTLY if self.left else GRANTED

    def check_auth_none(self, username):
        return FAILED

    def check_auth_password(self, username, password):
        return self._passed("password", password == self.server.password)

    def check_auth_publickey(self, username, key):
        return self._passed("publickey", key.get_base64() == self.server.user_key)

    def check_auth_interactive(self, username, submethods):
        return paramiko.InteractiveQuery("Second factor", "for alice",
                                         *[(text, echo) for text, echo, _ in self.server.prompts])

    def check_auth_interactive_response(self, responses):
        return self._passed("keyboard-interactive",
                            list(responses) == [answer for _, _, answer in self.server.prompts])

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        if self.server.exec_output is None:
            return False
        threading.Thread(target=self._print, args=(channel,), daemon=True).start()
        return True

    def _print(self, channel):
        channel.sendall(self.server.exec_output)
        channel.send_exit_status(0)
        channel.close()
