"""An SSH server that takes the key, says a banner and hangs up: what PAM's account modules do (pam_slurm_adopt, pam_nologin, shadow)."""

import getpass
import socket
import threading

import paramiko


class PartingServer:
    """Listens on a free loopback port. Public: port, host, user, known_hosts (its line, str), connections (count)."""

    def __init__(self, words):
        self.words, self.user, self.host, self.connections = words, getpass.getuser(), "127.0.0.1", 0
        self.host_key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server((self.host, 0))
        self.port = self._listener.getsockname()[1]
        self.known_hosts = f"[{self.host}]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"
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
            transport.add_server_key(self.host_key)
            transport.start_server(event=threading.Event(), server=_Session(transport, self.words))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        for transport in self._transports:
            transport.close()


class _Session(paramiko.ServerInterface):
    def __init__(self, transport, words):
        self.transport, self.words = transport, words

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_USERAUTH_BANNER)
        message.add_string(self.words + "\n")
        message.add_string("")
        self.transport._send_message(message)
        self.transport.packetizer.close()
        return paramiko.AUTH_FAILED
