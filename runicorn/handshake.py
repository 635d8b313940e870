"""One host shows who it is: the SSH handshake, its host key, and what to say where either fails. Is handed paramiko."""

import shlex
import time
from pathlib import Path

from runicorn import hostkeys, ssh_transport
from runicorn.errors import HostKeyError, LineError, RemoteError, coded

HANDSHAKE_SECONDS = 20


class Handshake:
    """The handshake with `target` (remote.Target). home: where our own known_hosts is; ask: who answers for an unknown key."""

    def __init__(self, ssh, target, home, ask, log):
        self.ssh, self.target, self.home, self.ask, self.log = ssh, target, home, ask, log
        alias = target.options.get("hostkeyalias")
        files = target.options.get("userknownhostsfile", "").split() or ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
        files += target.options.get("globalknownhostsfile", "").split() or ["/etc/ssh/ssh_known_hosts"]
        files = [Path(file).expanduser() for file in (*files, home / "known_hosts")]
        self.name = alias.lower() if alias else hostkeys.host_name(target.hostname, target.port)     # as known_hosts keeps it
        self._lines = hostkeys.read(files, self.name)
        # as ssh(1) does: a host that is not known at this port may be known at port 22, with the same key
        self._elsewhere = [] if alias or target.port == 22 else hostkeys.read(files, target.hostname.lower())

    def run(self, transport, line):
        """Shake hands over `line` and check the host key. Raises LineError, RemoteError, HostKeyError."""
        transport.banner_timeout = transport.handshake_timeout = HANDSHAKE_SECONDS
        self._prefer(transport)
        self._shake(transport, line)
        self.log("banner", f"{transport.remote_version}, {transport.remote_cipher}")
        self._check_host_key(transport)

    def _prefer(self, transport):
        """Ask first for the kinds of host key we can check: certificates of trusted authorities, then the kinds we know.

        And for AES-GCM, which moves 2 to 3 times the bytes of paramiko's first choice (AES-CTR with an HMAC made in Python).
        """
        lines = self._lines or self._elsewhere
        options = transport.get_security_options()
        usual = [kind for kind in options.key_types if not kind.endswith(hostkeys.CERTIFIED)]
        kinds = hostkeys.known_types(lines)
        first = [kind for kind in usual if kind in kinds or (kind.startswith("rsa-sha2") and "ssh-rsa" in kinds)]
        if hostkeys.authorities(lines):
            first = [kind + hostkeys.CERTIFIED for kind in usual] + first
        options.key_types = tuple(dict.fromkeys(first + usual))
        options.ciphers = sorted(options.ciphers, key=lambda cipher: "gcm" not in cipher)

    def _shake(self, transport, line):
        target = self.target
        try:
            transport.start_client(timeout=HANDSHAKE_SECONDS * 2)
            if not transport.initial_kex_done:
                raise coded(LineError(f"{target.name} did not finish the SSH handshake in time"), "banner", said="handshake_slow",
                            host=target.name)
        except self.ssh.ssh_exception.IncompatiblePeer as error:
            raise self._nothing_in_common(transport, error) from error
        except (self.ssh.SSHException, EOFError, OSError) as error:
            raise self._no_ssh(transport, line, error) from error

    def _nothing_in_common(self, transport, error):
        """Return the error for a server with which paramiko shares no algorithm: an old one, or one that is newer than paramiko."""
        target = self.target
        if ssh_transport.is_legacy(transport.peer_kex) or "host key" in str(error) and "ssh-dss" in str(error):
            text = (f"{target.name} and paramiko {self.ssh.__version__} share no algorithm ({error}). An old server that speaks only SHA-1 "
                    "needs `pip install 'paramiko<5'`, or the connection set to system ssh (auth: system)")
            return coded(RemoteError(text), "algorithms", host=target.name, detail=str(error))
        offers = f"; it offers {transport.peer_kex}" if transport.peer_kex else ""
        text = (f"{target.name} speaks only algorithms that paramiko {self.ssh.__version__} does not know ({error}{offers}). "
                "Set the connection to system ssh (auth: system)")
        return coded(RemoteError(text), "algorithms", said="algorithms_new", host=target.name, detail=str(error))

    def _no_ssh(self, transport, line, error):
        """Return the error for what answered, if anything did, as no SSH server does."""
        target = self.target
        where, heard = f"{target.name}:{target.port}", bytes(line.first)
        port = str(target.port)
        if transport.said:
            words = " / ".join(transport.said)
            return coded(RemoteError(f"{where} hung up; it says: {words}"), "refused", said="hung_up", words=words, host=target.name,
                         port=port)
        if not heard and line.said():
            words = line.said()
            return coded(LineError(f"the ProxyCommand to {target.name} brought no server: {words}"), "banner", said="proxy_said",
                         words=words, host=target.name)
        if heard and not heard.startswith(b"SSH-") and b"\nSSH-" not in heard:
            words = "".join(c if c.isprintable() else " " for c in heard.decode("utf-8", "replace"))[:100].strip()
            text = f"what answers at {where} is no SSH server: it says {words!r}. Is the port right?"
            return coded(LineError(text), "banner", said="no_ssh", words=words, host=target.name, port=port)
        if not heard:
            text = (f"{where} took the connection and said nothing: no SSH server is behind this port, or it is overloaded or behind a "
                    "firewall that cuts")
            return coded(LineError(text), "banner", said="silent_port", host=target.name, port=port)
        why = error or "it hung up"
        return coded(LineError(f"{where} broke off the SSH handshake ({why})"), "banner", said="handshake_cut", detail=str(why),
                     host=target.name, port=port)

    def _check_host_key(self, transport):
        key = transport.get_remote_server_key()
        if key.public_blob and self._certified(key):
            return
        kind, blob = key.get_name(), key.asbytes()
        verdict = hostkeys.judge(self._lines, kind, blob)
        if verdict.kind == "unknown" and hostkeys.judge(self._elsewhere, kind, blob).kind in ("known", "revoked"):
            verdict = hostkeys.judge(self._elsewhere, kind, blob)
        shown = hostkeys.fingerprint(blob)
        if verdict.kind == "revoked":
            raise coded(HostKeyError(f"the host key of {self.name} ({shown}) is marked as revoked in known_hosts: do not connect; ask "
                                     "the server's administrator"), "host_key_revoked", host=self.name, offered=shown)
        if verdict.kind == "changed":
            raise _changed(self.name, kind, shown, verdict.expected)
        if verdict.kind == "unknown":
            self._ask_about(self.name, kind, blob, shown, verdict.expected)
        self.log("host_key", f"{kind} {shown}")

    def _certified(self, key):
        made = hostkeys.certificate(key.public_blob.key_blob)
        host = self.target.options.get("hostkeyalias") or self.target.hostname
        why = hostkeys.refusal(made, host, hostkeys.authorities(self._lines or self._elsewhere), time.time())
        if why is None:
            message = self.ssh.Message(made.authority)
            authority = self.ssh.PKey.from_type_string(message.get_text(), made.authority)
            why = None if authority.verify_ssh_sig(made.signed, self.ssh.Message(made.signature)) else "its signature is wrong"
        self.log("host_key", f"certificate: {why or 'signed by a trusted authority'}", said="certificate_bad" if why else "certificate",
                 detail=why)
        return why is None

    def _ask_about(self, name, kind, blob, shown, others):
        prompt = f"The host key of {name} is not known yet: {kind} {shown}. Is it the server's?"
        if others:
            prompt += f" So far the server was known by another kind of key: {_listed(others)}."
        question = {"kind": "host_key", "prompt": prompt, "echo": True, "fingerprint": shown, "key_type": kind, "host": name}
        if not self.ask or self.ask(question) not in ("yes", "trust"):
            raise coded(HostKeyError(f"the host key of {name} is not known: {kind} {shown}. Compare it with the server's (there: "
                                     "`ssh-keygen -lf /etc/ssh/ssh_host_*.pub`), then trust it when asked"),
                        "host_key_unknown", host=name, offered=shown, key_type=kind)
        hostkeys.add(self.home / "known_hosts", name, kind, blob)


def _changed(name, kind, shown, expected):
    known = _listed(expected)
    removal = [f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(path)}" for path in dict.fromkeys(line.path for line in expected)]
    return coded(HostKeyError(f"THE HOST KEY OF {name} CHANGED. Known: {known}. Offered: {kind} {shown}. Someone may be listening in, or "
                              f"the server was set up anew: ask its administrator, then forget the old key with "
                              f"{' and '.join(f'`{command}`' for command in removal)}"),
                 "host_key_changed", host=name, known=known, offered=f"{kind} {shown}", removal=removal)


def _listed(lines):
    return ", ".join(f"{line.key_type} {hostkeys.fingerprint(line.blob)} in {line.path}" for line in lines)
