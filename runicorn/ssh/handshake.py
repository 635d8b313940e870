"""One host shows who it is: the SSH handshake, its host key, and what to say where either fails. Is handed
paramiko."""

import base64
import shlex
import time
from pathlib import Path

from runicorn.errors import HostKeyError, LineError, RemoteError
from runicorn.ssh import host_keys, local, user_config
from runicorn.ssh import transport as ssh_transport

HANDSHAKE_SECONDS = 20      # or the user's ConnectTimeout, where that is longer
# StrictHostKeyChecking that takes any key; "accept-new" only those of hosts that nobody knows
UNCHECKED = ("no", "off", "false")
STRICT = ("yes", "true")    # that takes only keys which known_hosts has
# sshd's own words in place of its banner (sshd.c)
BUSY, PENALTY = b"Exceeded MaxStartups", b"Not allowed at this time"
NOWHERE = ("/dev/null", "none")


class Handshake:
    """The handshake with `target` (dialer.Target). home: where our own known_hosts is; ask: who answers for
    an unknown key."""

    def __init__(self, ssh, target, home, ask, log):
        self.ssh, self.target, self.home, self.ask, self.log = ssh, target, home, ask, log
        alias = target.options.get("hostkeyalias")
        own = target.options.get("userknownhostsfile") or ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
        usual = target.options.get("globalknownhostsfile") or list(
                                                                   map(local.system_file,
                                                                       ("ssh_known_hosts",
                                                                        "ssh_known_hosts2")))
        files = [Path(file).expanduser() for file in (*own, *usual) if file not in NOWHERE]
        # As known_hosts keeps it
        self.name = alias.lower() if alias else host_keys.host_name(target.hostname, target.port)
        self._strict = target.options.get("stricthostkeychecking", "ask").lower()
        # a machine that is made anew each day
        self._forgets = self._strict in UNCHECKED and all(file in NOWHERE for file in own)
        if not self._forgets:
            files.append(home / "known_hosts")
        self._lines = host_keys.read(files, self.name)
        # as ssh(1) does: a host that is not known at this port may be known at port 22, with the same key
        self._elsewhere = [] if alias or target.port == 22 else host_keys.read(files, target.hostname.lower())

    def _commanded(self, moment, name, kind="NONE", shown="NONE", blob=b""):
        """Return the lines (list of host_keys.Line) about the host `name` that the user's KnownHostsCommand
        prints."""
        text = user_config.known_hosts_lines(self.target.options, H=name, I=moment, t=kind, f=shown,
                                           K=base64.b64encode(blob).decode() or "NONE")
        lines = [host_keys.parse(line, "the output of KnownHostsCommand") for line in text.splitlines()]
        return [line for line in lines if line and host_keys.matches(line, name)]

    def run(self, transport, line):
        """Shake hands over `line` and check the host key. Raises LineError, RemoteError, HostKeyError."""
        self._patience = max(HANDSHAKE_SECONDS,
                             user_config.seconds(self.target.options.get("connecttimeout"), 0))
        transport.await_handshake(self._patience)
        self._prefer(transport)
        self._shake(transport, line)
        self.log("banner", f"{transport.remote_version}, {transport.remote_cipher}")
        self._check_host_key(transport, line)

    def _prefer(self, transport):
        """Ask first for the kinds of host key we can check: certificates of trusted authorities, then the
        kinds we know.

        And for AES-GCM, which moves 2 to 3 times the bytes of paramiko's first choice (AES-CTR with an HMAC
        made in Python).
        """
        lines = ((self._lines or self._elsewhere)
                 + self._commanded("ORDER", self.target.options.get("hostkeyalias", self.target.hostname)))
        options = transport.get_security_options()
        usual = [kind for kind in options.key_types if not kind.endswith(host_keys.CERTIFIED)]
        kinds = host_keys.known_types(lines)
        preferred = [kind for kind in usual if kind in kinds
                     or (kind.startswith("rsa-sha2") and "ssh-rsa" in kinds)]
        if host_keys.authorities(lines):
            preferred = [kind + host_keys.CERTIFIED for kind in usual] + preferred
        options.key_types = tuple(dict.fromkeys(preferred + usual))
        options.ciphers = sorted(options.ciphers, key=lambda cipher: "gcm" not in cipher)

    def _shake(self, transport, line):
        target = self.target
        try:
            transport.start_client(timeout=self._patience * 2)
            if not transport.initial_kex_done:
                raise LineError(f"{target.name} did not finish the SSH handshake in time", code="banner",
                                said="handshake_slow", host=target.name)
        except self.ssh.ssh_exception.IncompatiblePeer as error:
            raise self._nothing_in_common(transport, error) from error
        except (self.ssh.SSHException, EOFError, OSError) as error:
            raise self._no_ssh(transport, line, error) from error

    def _nothing_in_common(self, transport, error):
        """Return the error for a server with which paramiko shares no algorithm: an old one, or one that is
        newer than paramiko."""
        target = self.target
        if (ssh_transport.is_legacy(transport.peer_kex) or "host key" in str(error)
                and "ssh-dss" in str(error)):
            text = (f"{target.name} and paramiko {self.ssh.__version__} share no algorithm ({error}). An "
                    f"old server that speaks only SHA-1 "
                    "needs `pip install 'paramiko<5'`, or the connection set to system ssh (auth: system)")
            return RemoteError(text, code="algorithms", host=target.name, detail=str(error))
        offers = f"; it offers {transport.peer_kex}" if transport.peer_kex and "kex" in str(error) else ""
        text = (f"{target.name} speaks only algorithms that paramiko {self.ssh.__version__} does not know "
                f"({error}{offers}). "
                "Set the connection to system ssh (auth: system)")
        return RemoteError(text, code="algorithms", said="algorithms_new", host=target.name,
                           detail=str(error))

    def _no_ssh(self, transport, line, error):
        """Return the error for what answered, if anything did, as no SSH server does."""
        target = self.target
        address, heard = f"{target.name}:{target.port}", bytes(line.first)
        port = str(target.port)
        if transport.words:
            return RemoteError(f"{address} hung up; it says: {transport.words}", code="refused",
                               said="hung_up", words=transport.words, host=target.name, port=port)
        if not heard and line.said():
            words = line.said()
            return LineError(f"the ProxyCommand to {target.name} brought no server: {words}", code="banner",
                             said="proxy_said", words=words, host=target.name)
        if heard.startswith(PENALTY):       # sshd 9.8's PerSourcePenalties: each further try makes it longer
            words = PENALTY.decode()
            text = (f"{address} takes no login from here for now; it says: {words}. It is not tried again "
                    f"by itself, since each try makes "
                    "it longer: wait some minutes, then test again or sync now")
            return RemoteError(text, code="refused", said="penalty", words=words, host=target.name, port=port)
        if heard.startswith(BUSY):
            text = f"{address} hung up; it says: {heard.splitlines()[0].decode()}"
            return LineError(text, code="banner", said="hung_up", words=text.partition("says: ")[2],
                             host=target.name, port=port)
        if heard and not heard.startswith(b"SSH-") and b"\nSSH-" not in heard:
            words = "".join(c if c.isprintable() else " "
                            for c in heard.decode("utf-8", "replace"))[:100].strip()
            text = f"what answers at {address} is no SSH server: it says {words!r}. Is the port right?"
            return LineError(text, code="banner", said="no_ssh", words=words, host=target.name, port=port)
        if not heard:
            text = (f"{address} took the connection and said nothing: no SSH server is behind this port, or "
                    f"it is overloaded or behind a "
                    "firewall that cuts")
            return LineError(text, code="banner", said="silent_port", host=target.name, port=port)
        why = error or "it hung up"
        return LineError(f"{address} broke off the SSH handshake ({why})", code="banner",
                         said="handshake_cut", detail=str(why), host=target.name, port=port)

    def _check_host_key(self, transport, line):
        key = transport.get_remote_server_key()
        kind, blob = key.get_name(), key.asbytes()
        if self._is_here(line):
            return self.log("host_key", f"{kind} {host_keys.fingerprint(blob)}")
        self._lines = self._lines + self._commanded("HOSTNAME", self.name, kind, host_keys.fingerprint(blob),
                                                    blob)
        self._refuse_revoked(key, kind, blob)
        if key.public_blob and self._certified(key):
            return
        verdict = host_keys.judge(self._lines, kind, blob)
        if verdict.kind == "unknown":
            elsewhere = host_keys.judge(self._elsewhere, kind, blob)
            verdict = elsewhere if elsewhere.kind in ("known", "revoked") else verdict
        shown = host_keys.fingerprint(blob)
        if verdict.kind == "revoked":
            raise self._revoked(shown)
        if verdict.kind == "changed" and not (self._strict in UNCHECKED
                                              and self.target.auth in ("key", "agent")):
            # Who asks for a password must be known
            raise _changed(self.name, kind, shown, verdict.expected)
        if verdict.kind in ("changed", "unknown") and self._strict in (*UNCHECKED, "accept-new"):
            return self._take(verdict.kind, kind, blob, shown)
        if verdict.kind == "unknown" and self._strict in STRICT:
            raise self._not_asked_about(kind, shown)
        if verdict.kind == "unknown":
            self._ask_about(kind, blob, verdict.expected,
                            host_keys.comparison(kind, transport.remote_version))
        self.log("host_key", f"{kind} {shown}")

    def _is_here(self, line):
        """Whether the server is this computer, whose keys the user's NoHostAuthenticationForLocalhost passes
        over: each container that lends its port to 127.0.0.1 has another one."""
        options = self.target.options
        return (options.get("nohostauthenticationforlocalhost") == "yes" and "hostkeyalias" not in options
                and line.is_local())

    def _refuse_revoked(self, key, kind, blob):
        """Refuse a key, or a certificate's authority, that known_hosts marks as revoked or the user's
        RevokedHostKeys names."""
        path = self.target.options.get("revokedhostkeys", "none")
        authority = host_keys.certificate(key.public_blob.key_blob).authority if key.public_blob else None
        for name, public in ((kind, blob), (authority and self.ssh.Message(authority).get_text(), authority)):
            if public and (host_keys.judge(self._lines, name, public).kind == "revoked"
                        or path != "none" and host_keys.is_revoked(path, name, public)):
                raise self._revoked(host_keys.fingerprint(public))

    def _revoked(self, shown):
        return HostKeyError(f"the host key of {self.name} ({shown}) is marked as revoked in known_hosts or "
                            f"RevokedHostKeys: do not " "connect; ask the server's administrator",
                            code="host_key_revoked", host=self.name, offered=shown)

    def _not_asked_about(self, kind, shown):
        command = f"ssh -o StrictHostKeyChecking=ask {shlex.quote(self.target.name)}"
        return HostKeyError(f"no host key of {self.name} is known that equals {kind} {shown}, and "
                            f"~/.ssh/config asks for strict "
                            f"checking (StrictHostKeyChecking {self._strict}): run `{command}` once in a "
                            f"terminal, compare the "
                            "key with the server's and say yes, or have its administrator put it into "
                            "known_hosts", code="host_key_unknown", said="host_key_strict", host=self.name,
                            offered=f"{kind} {shown}", command=command)

    def _take(self, verdict, kind, blob, shown):
        """Take a key that nobody compared, because the user's config says so; note one that is new, unless it
        says to note none."""
        if verdict == "unknown" and not self._forgets:
            host_keys.add(self.home / "known_hosts", self.name, kind, blob)
        changed = verdict == "changed"
        news = "another one than before" if changed else "new"
        self.log("host_key", f"{kind} {shown}, {news}: taken, as ~/.ssh/config says (StrictHostKeyChecking "
                 f"{self._strict})", said="host_key_taken_changed" if changed else "host_key_taken_unknown",
                 key=f"{kind} {shown}", strict=self._strict)

    def _certified(self, key):
        certificate = host_keys.certificate(key.public_blob.key_blob)
        host = self.target.options.get("hostkeyalias") or self.target.hostname
        why = host_keys.refusal(certificate, host, host_keys.authorities(self._lines or self._elsewhere),
                                time.time())
        if why is None:
            message = self.ssh.Message(certificate.authority)
            authority = self.ssh.PKey.from_type_string(message.get_text(), certificate.authority)
            signature = self.ssh.Message(certificate.signature)
            why = (None if authority.verify_ssh_sig(certificate.signed, signature)
                   else "its signature is wrong")
        self.log("host_key", f"certificate: {why or 'signed by a trusted authority'}",
                 said="certificate_bad" if why else "certificate", detail=why)
        return why is None

    def _ask_about(self, kind, blob, others, comparison):
        """Ask whether an unknown key is the server's. others: [host_keys.Line] of its other keys; comparison:
        host_keys.comparison."""
        name, shown = self.name, host_keys.fingerprint(blob)
        prompt = f"The host key of {name} is not known yet: {kind} {shown}. Is it the server's?"
        if others:
            prompt += f" So far the server was known by another kind of key: {_listed(others)}."
        question = {"kind": "host_key", "prompt": prompt, "echo": True, "fingerprint": shown,
                    "key_type": kind, "host": name, "comparison": comparison}
        if not self.ask or self.ask(question) not in ("yes", "trust"):
            hint = f" (there: `{comparison}`)" if comparison else ""
            raise HostKeyError(f"the host key of {name} is not known: {kind} {shown}. Compare it with the "
                               f"server's{hint}, then " "trust it when asked", code="host_key_unknown",
                               host=name, offered=shown, key_type=kind, comparison=comparison)
        host_keys.add(self.home / "known_hosts", name, kind, blob)


def _changed(name, kind, shown, expected):
    listed = _listed(expected)
    removal = [f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(path)}"
               for path in dict.fromkeys(line.path for line in expected)]
    return HostKeyError(f"THE HOST KEY OF {name} CHANGED. Known: {listed}. Offered: {kind} {shown}. Someone "
                        f"may be listening in, or "
                        f"the server was set up anew: ask its administrator, then forget the old key with "
                        f"{' and '.join(f'`{command}`' for command in removal)}", code="host_key_changed",
                        host=name, known=listed, offered=f"{kind} {shown}", removal=removal,
                        places=[[_shown(line), line.path] for line in expected])


def _listed(lines):
    return ", ".join(f"{_shown(line)} in {line.path}" for line in lines)


def _shown(line):
    return f"{line.key_type} {host_keys.fingerprint(line.blob)}"
