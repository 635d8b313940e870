"""Which keys a login offers, in which order: files, certificates and the agent's, as ssh(1) has them. Is
handed paramiko.

A file that is no OpenSSH or PEM key of its own form (PKCS#8) is read by cryptography, which paramiko brings
along.
"""

import base64
import binascii
import functools
import io
import os
from pathlib import Path

from runicorn import layout, local_disk
from runicorn.errors import LoginError
from runicorn.ssh import local

# What OpenSSH tries, without the FIDO kinds, which need the system's ssh
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
FIDO_KEYS = ("id_ed25519_sk", "id_ecdsa_sk")
# Of those nobody named; sshd hangs up after MaxAuthTries (6 unless its administrator chose another number)
AGENT_KEYS = 50


class Keys:
    """The keys for `target`. passphrase(prompt) asks the user; `secrets` forgets a passphrase that was wrong.

    `passed_over` ({path: why}): files named in ~/.ssh/config that are of no use to us.
    """

    def __init__(self, ssh, target, passphrase, secrets):
        self.ssh, self.target, self.secrets, self._passphrase = ssh, target, secrets, passphrase
        self.passed_over = {}
        self._agent = self._agent_keys = None

    def close(self):
        """Let go of the agent."""
        if self._agent:
            self._agent.close()

    def candidates(self):
        """Yield (key, what it is in words), the likeliest first: of each file that is named its key, from the
        agent where that holds it; then the agent's others, unless IdentitiesOnly. Raises LoginError."""
        target, named, offered = self.target, [], set()
        files = self._files()
        if target.auth == "agent":
            agent_keys = self._asked_agent()
            if not agent_keys:
                raise LoginError("there is no SSH agent with a key in it; start one and run `ssh-add`, or "
                                 "choose a key file",
                                 code="agent")
        for path in files:
            agent_keys = self._of_agent(path)
            named += agent_keys
            keys = agent_keys or ([] if target.auth == "agent" else self._load_or_skip(path))
            for key in keys:
                offered.add(key.asbytes())
                yield from self._certified(key, path)
        if target.key_required or target.identities_only and target.keys:
            return
        for key in [key for key in self._quiet_agent() if key.asbytes() not in offered][:AGENT_KEYS]:
            yield from self._certified(key, None)

    def nothing(self):
        """Return the LoginError for a login that had no key at all to offer: what stood in the way of
        each."""
        target, name = self.target, self.target.name
        unused = [f"{path} ({why})" for path, why in self.passed_over.items()]
        if target.auth == "agent":
            unused += [f"{path} (not in the agent: `ssh-add {path}`, or set the connection to its key)"
                       for path in target.keys]
        unused += [f"{path} (not there)" for path in target.keys
                   if target.auth != "agent" and not Path(path).exists()]
        unused += [f"{path} (a FIDO key)" for path in self._fido()]
        provider = target.options.get("pkcs11provider", "none")
        if provider != "none":
            unused.append(f"PKCS11Provider {provider} (a smart card: or give its keys to the agent, "
                          f"`ssh-add -s {provider}`)")
        text = f"there is no key to offer to {name}: {', '.join(unused) or 'none is named'}"
        advice = ("FIDO keys, smart cards and Kerberos need your system's ssh: "
                  "set the connection to it (auth: system)")
        return LoginError(f"{text}. {advice}", code="key_missing", said="no_key_usable", host=name,
                          detail=", ".join(unused))

    # -- files

    def _files(self):
        """Return the files (list of str) that are named, or the usual ones; their private half may be in the
        agent only."""
        target = self.target
        if target.keys:
            usable = [path for path in target.keys
                      if path.lower() != "none" and (Path(path).is_file() or self._of_agent(path))]
            if target.key_required and not usable:
                raise LoginError(f"the key file {target.keys[0]} is not there", code="key_missing",
                                 key=target.keys[0])
            return usable
        usual = [str(path) for path in (Path("~/.ssh").expanduser() / name for name in DEFAULT_KEYS)
                 if path.is_file()]
        elsewhere = self._fido() or target.options.get("pkcs11provider", "none") != "none"
        if not usual and not elsewhere and target.auth == "key" and not self._quiet_agent():
            raise LoginError("there is no key in ~/.ssh; make one with `ssh-keygen`, or choose its file",
                             code="key_missing", said="no_key")
        return usual if target.auth != "agent" else []

    def _fido(self):
        """Return the usual FIDO keys (list of str) that are there: they need the system's ssh."""
        return [str(path) for path in (Path("~/.ssh").expanduser() / name for name in FIDO_KEYS)
                if path.is_file()]

    def _load_or_skip(self, path):
        try:
            return [self._load(path)]
        except LoginError as error:
            if self.target.key_required or error.code != "key_format":
                raise
            # One of several: the next may fit
            self.passed_over[path] = error.values.get("why", "of no kind we know")
            return []

    def _load(self, path):
        if _public_blob(path):
            raise LoginError(f"{path} is the public half, and no agent holds its key; the connection needs "
                             f"{path.removesuffix('.pub')}", code="key_format", said="key_public", key=path,
                             why="the public half, whose key no agent holds")
        mode = _exposed(path)
        if mode:
            raise LoginError(f"others may read the key file {path} (mode {mode}), so ssh does not use it, "
                             f"and we do not: " f"`chmod 600 {path}`", code="key_format", said="key_exposed",
                             key=path, mode=mode, why=f"others may read it: `chmod 600 {path}`")
        try:
            return self._read(path, None)
        except self.ssh.PasswordRequiredException:
            return self._read(path, self._passphrase(f"Passphrase for {path}"))

    def _read(self, path, passphrase):
        """Return the key of a file. Notepad and PowerShell put a mark before what they save, or save
        UTF-16."""
        error = None
        try:
            data = local_disk.utf8(layout.read_regular(path))
        except OSError as problem:
            raise LoginError(f"the key file {path} can't be read: {problem.strerror}", code="key_missing",
                             said="key_unreadable", key=path, detail=problem.strerror) from problem
        for read in (*(functools.partial(self._read_as, kind) for kind in self._kinds()), self._read_pkcs8):
            try:
                return read(data, passphrase)
            except self.ssh.PasswordRequiredException:
                raise
            except (self.ssh.SSHException, ValueError, IndexError, TypeError, UnicodeDecodeError) as problem:
                error = problem     # another kind of key
        if passphrase is not None:
            self.secrets.pop("passphrase", None)
            raise LoginError(f"the passphrase does not open the key {path}", code="passphrase",
                             key=path) from error
        raise _unknown_kind(path) from error

    @staticmethod
    def _read_as(kind, data, passphrase):
        return kind.from_private_key(io.StringIO(data.decode()), passphrase)

    def _kinds(self):
        return self.ssh.Ed25519Key, self.ssh.ECDSAKey, self.ssh.RSAKey

    def _read_pkcs8(self, data, passphrase):
        """Read what OpenSSL 3 and clouds write: "BEGIN PRIVATE KEY" and "BEGIN ENCRYPTED PRIVATE KEY" (RFC
        5958)."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization as pem
        if b" PRIVATE KEY-----" not in data:
            raise ValueError("no PEM key")
        if passphrase is None and b"BEGIN ENCRYPTED PRIVATE KEY" in data:
            raise self.ssh.PasswordRequiredException("the key is encrypted")
        secret = passphrase.encode() if passphrase and b"ENCRYPTED" in data else None
        try:
            key = pem.load_pem_private_key(data, secret)
            text = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.OpenSSH, pem.NoEncryption()).decode()
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from error
        for kind in self._kinds():
            try:
                return kind.from_private_key(io.StringIO(text))
            except self.ssh.SSHException:
                continue            # another kind of key
        raise ValueError("of a kind that SSH does not use")

    def _certified(self, key, path):
        """Yield the key of a file (None: the agent alone has it) with each certificate that is made for it,
        then the key alone."""
        beside = [f"{path.removesuffix('.pub')}-cert.pub"] if path else []
        for certificate in dict.fromkeys([*self.target.options.get("certificatefile", []), *beside]):
            if _certifies(certificate, key):
                certified = self._again(key, path)
                certified.load_certificate(certificate)
                yield certified, f"{certificate}"
        yield (key, f"agent key {key.comment or key.get_name()}" if isinstance(key, self.ssh.AgentKey)
               else path)

    def _again(self, key, path):
        """Return the same key once more, to which a certificate may be tied."""
        if not isinstance(key, self.ssh.AgentKey):
            return self._read(path, self.secrets.get("passphrase"))
        return self.ssh.AgentKey(key.agent, key.blob, key.comment)

    # -- the agent

    def _of_agent(self, path):
        """Return the agent's key (list of at most one) whose public half is `path`, or lies beside it."""
        blobs = {_public_blob(path), _public_blob(f"{path.removesuffix('.pub')}.pub")} - {None}
        return [key for key in self._quiet_agent() if key.asbytes() in blobs][:1] if blobs else []

    def _quiet_agent(self):
        try:
            return self._asked_agent()
        except LoginError:
            # The agent is only a convenience here; the passphrase is asked for instead
            return []

    def _asked_agent(self):
        """Return the agent's keys (list), asked once. Raises LoginError when it does not answer."""
        if self._agent_keys is None:
            try:
                self._agent_keys = list(self._listed())
            except (self.ssh.SSHException, OSError, AttributeError) as error:
                raise LoginError(f"the SSH agent does not answer: {error}", code="agent", said="agent_silent",
                                 detail=str(error)) from error
        return self._agent_keys

    def _listed(self):
        named = self.target.options.get("identityagent", "SSH_AUTH_SOCK")
        if named.lower() == "none":
            return ()
        path = (os.environ.get(named[1:], "") if named[:1] == "$" else named if named != "SSH_AUTH_SOCK"
                else local.usual_agent())
        self._agent = self._agent_at(path) if path is not None else self.ssh.Agent()
        return self._agent.get_keys()

    def _agent_at(self, path):
        """Return the agent that IdentityAgent names: password managers have one of their own."""
        line = local.agent_line(path)
        agent = self.ssh.Agent.__new__(self.ssh.Agent)
        self.ssh.agent.AgentSSH.__init__(agent)
        agent._connect(line)        # paramiko's own way in looks at SSH_AUTH_SOCK only
        return agent


def _exposed(path):
    """Return the mode (str) of a key file of ours that others may read or write, as ssh refuses it; "" for a
    good one."""
    try:
        status = os.stat(path)
    except OSError:
        return ""               # reading it tells
    exposed = not local.WINDOWS and status.st_uid == os.getuid() and status.st_mode & 0o077
    return f"{status.st_mode & 0o777:04o}" if exposed else ""


def _unknown_kind(path):
    """Return the LoginError for a file that is no private key we can use, with what it looks like."""
    try:
        with open(layout.open_regular(path), "rb") as file:
            head = local_disk.utf8(file.read(1 << 16))
        lines = head.split(b"-----")
        raw = base64.b64decode(b"".join(lines[2].split())) if len(lines) > 2 else b""
    except (OSError, binascii.Error):
        head = raw = b""        # not even that: it is called neither
    if head.startswith(b"PuTTY-User-Key-File"):
        return LoginError(f"{path} is a PuTTY key: export it as OpenSSH key (PuTTYgen, Conversions) and "
                          f"name that file", code="key_format", said="key_putty", key=path,
                          why="a PuTTY key: export it as OpenSSH key")
    if b"sk-" in raw[:400] or (_public_kind(path) or "").startswith("sk-"):
        return LoginError(f"{path} is a FIDO key, which needs your system's ssh: set the connection to it "
                          f"(auth: system)",
                          code="key_format", said="key_fido", key=path, why="a FIDO key: auth: system")
    return LoginError(f"{path} is no OpenSSH or PEM private key of a kind we know; where ssh can use it, "
                      f"set the connection to your "
                      "system's ssh (auth: system)", code="key_format", key=path, why="of no kind we know")


def _public_kind(path):
    """Return the kind of key that the public half beside `path` names (str), or None."""
    try:
        return layout.read_regular(f"{path}.pub").decode("utf-8", "replace").split()[0]
    except (OSError, IndexError):
        return None             # there is none


def _public_blob(path):
    """Return the public key (bytes) in a file of one line, or None where it holds none."""
    try:
        with open(layout.open_regular(path), "rb") as file:
            words = local_disk.utf8(file.read(1 << 16)).decode().split()
        return (base64.b64decode(words[1], validate=True)
                if words[0].partition("-")[0] in ("ssh", "ecdsa", "sk") else None)
    except (OSError, IndexError, UnicodeDecodeError, binascii.Error):
        return None                 # no public half there: nothing to compare with


def _certifies(path, key):
    """Whether the certificate in a file is made for `key`: it holds the same public numbers (OpenSSH's
    PROTOCOL.certkeys)."""
    blob = _public_blob(path)
    if not blob:
        return False
    kind, *numbers = _strings(key.asbytes())
    _, _, *certified = _strings(blob, 2 + len(numbers))
    return certified == numbers


def _strings(blob, count=None):
    """Return the SSH strings at the beginning of a blob: `count` of them, or all."""
    strings, offset = [], 0
    while offset + 4 <= len(blob) and (count is None or len(strings) < count):
        length = int.from_bytes(blob[offset:offset + 4], "big")
        strings.append(blob[offset + 4:offset + 4 + length])
        offset += 4 + length
    return strings
