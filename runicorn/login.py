"""Who gets in, and how: keys, agent, password and the server's own questions, each tried once. Is handed paramiko, opens no line."""

import os
import socket
from pathlib import Path

from runicorn.errors import LineError, LoginError, coded

DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")     # what OpenSSH tries, without the FIDO kinds, which need the system's ssh
AGENT_KEYS = 5              # sshd gives up after MaxAuthTries (6) keys
STEPS = 4                   # a server may ask for several methods one after another (key, then a code)
ANSWER_SECONDS = 300        # how long the user may look for a one-time code; sshd itself waits 120 s by default
CODE_WORDS = ("code", "otp", "token", "passcode", "verification", "duo", "factor", "验证码", "动态")
METHODS = {"key": ("publickey",), "agent": ("publickey",), "password": ("password", "keyboard-interactive"),
           "hop": ("publickey", "password", "keyboard-interactive")}


class Login:
    """One login of `target` over `transport`. `secrets` (password, passphrase) is read, and filled with what the user types."""

    def __init__(self, ssh, transport, target, ask, secrets):
        self.ssh, self.transport, self.target, self.secrets = ssh, transport, target, secrets
        self._ask = ask
        self.asked = False          # the server asked something that only the user could answer: no silent second login
        self.offered = []           # methods the server takes
        self.tried = []             # (method, what) refused by the server
        self._password_used = self._unanswered = False
        self._agent = None

    def run(self):
        """Log in. Raises LoginError (refused, nobody answered, key missing) or LineError (cut meanwhile)."""
        try:
            self._all_steps()
        finally:
            if self._agent:
                self._agent.close()

    def _all_steps(self):
        offered = self.offered = self._offered()
        allowed = METHODS[self.target.auth]
        for _ in range(STEPS):
            if not offered:
                return
            offered = self._step(offered, allowed)
            allowed = ("keyboard-interactive", "password", "publickey")     # the next step is the server's choice
        raise self._refused("asks for one method after another", offered)

    def _offered(self):
        try:
            return self._attempt(self.transport.auth_none)
        except self.ssh.BadAuthenticationType as error:
            return error.allowed_types

    def _step(self, offered, allowed):
        """Try the allowed methods the server offers; return what it still wants (empty: we are in)."""
        for method in allowed:
            if method not in offered:
                continue
            if method == "publickey":
                left = self._keys()
            elif method == "password":
                left = self._password()
            else:
                left = self._interactive()
            if left is not None:
                return left
            if self.target.auth != "hop":
                break               # a refused login is not tried in a second way
        raise self._refused("refused the login" if self.tried else "does not take this way of logging in", offered)

    # -- the three methods: each returns what the server still wants, or None when it refused

    def _keys(self):
        """Offer keys in turn until one is taken."""
        for key, what in self._candidates():
            left = self._try("key", what, lambda key=key: self.transport.auth_publickey(self.target.user, key))
            if left is not None:
                return left
        return None

    def _candidates(self):
        target = self.target
        if target.auth == "agent":
            agent = self._agent_keys()
        else:
            agent = self._quiet_agent() if target.auth == "hop" or not self._key_files() else []
        if target.identities_only and target.keys:
            wanted = {_public_blob(path) for path in target.keys}
            agent = [key for key in agent if key.asbytes() in wanted]
        yield from ((key, f"agent key {getattr(key, 'comment', '') or key.get_name()}") for key in agent[:AGENT_KEYS])
        if target.auth != "agent":
            for path in self._key_files():
                yield from ((key, path) for key in self._load_or_skip(path))

    def _agent_keys(self):
        try:
            keys = self._asked_agent()
        except (self.ssh.SSHException, OSError) as error:
            raise coded(LoginError(f"the SSH agent does not answer: {error}"), "agent", said="agent_silent", detail=str(error)) from error
        if not keys:
            raise coded(LoginError("there is no SSH agent with a key in it; start one and run `ssh-add`, or choose a key file"), "agent")
        return list(keys)

    def _asked_agent(self):
        named = self.target.options.get("identityagent", "SSH_AUTH_SOCK")
        if named.lower() == "none":
            return ()
        if self._agent is None and named == "SSH_AUTH_SOCK":
            self._agent = self.ssh.Agent()
        elif self._agent is None:
            self._agent = self._agent_at(os.environ.get(named[1:], "") if named.startswith("$") else named)
        return self._agent.get_keys()

    def _agent_at(self, path):
        """Return the agent that IdentityAgent names: password managers have one of their own."""
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(path)
        except OSError:
            line.close()
            raise
        agent = self.ssh.Agent.__new__(self.ssh.Agent)
        self.ssh.agent.AgentSSH.__init__(agent)
        agent._connect(line)        # paramiko's own way in looks at SSH_AUTH_SOCK only
        return agent

    def _key_files(self):
        if self.target.keys:
            missing = [path for path in self.target.keys if not Path(path).is_file()]
            if self.target.key_required and missing:
                raise coded(LoginError(f"the key file {missing[0]} is not there"), "key_missing", key=missing[0])
            return [path for path in self.target.keys if path not in missing]
        found = [str(path) for path in (Path("~/.ssh").expanduser() / name for name in DEFAULT_KEYS) if path.is_file()]
        if not found and self.target.auth == "key" and not self._quiet_agent():
            raise coded(LoginError("there is no key in ~/.ssh; make one with `ssh-keygen`, or choose its file"), "key_missing",
                        said="no_key")
        return found

    def _load_or_skip(self, path):
        try:
            return self._load(path)
        except LoginError as error:
            if self.target.key_required or error.code != "key_format":
                raise
            self.tried.append(("key", f"{path} (of no kind we know)"))      # one of several in ~/.ssh/config: the next may fit
            return []

    def _load(self, path):
        """Return the private key in a file (list: with its certificate first, where there is one)."""
        if path.endswith(".pub"):
            raise coded(LoginError(f"{path} is the public half; the connection needs {path[:-4]}"), "key_format", said="key_public",
                        key=path)
        try:
            key = self._read(path, None)
        except self.ssh.PasswordRequiredException:
            held = [key for key in self._quiet_agent() if key.asbytes() == _public_blob(path)]
            if held:
                return held
            key = self._read(path, self.secret("passphrase", f"Passphrase for {path}"))
        certificate = Path(path + "-cert.pub")
        if not certificate.is_file():
            return [key]
        certified = self._read(path, self.secrets.get("passphrase"))
        certified.load_certificate(str(certificate))
        return [certified, key]

    def _quiet_agent(self):
        try:
            return self._asked_agent()
        except (self.ssh.SSHException, OSError):
            return []           # the agent is only a convenience here; the passphrase is asked for instead

    def _read(self, path, passphrase):
        error = None
        for kind in (self.ssh.Ed25519Key, self.ssh.ECDSAKey, self.ssh.RSAKey):
            try:
                return kind.from_private_key_file(path, passphrase)
            except self.ssh.PasswordRequiredException:
                raise
            except OSError as problem:
                raise coded(LoginError(f"the key file {path} can't be read: {problem.strerror}"), "key_missing", said="key_unreadable",
                            key=path, detail=problem.strerror) from problem
            except (self.ssh.SSHException, ValueError, IndexError, UnicodeDecodeError) as problem:
                error = problem     # another kind of key
        if passphrase is not None:
            self.secrets.pop("passphrase", None)
            raise coded(LoginError(f"the passphrase does not open the key {path}"), "passphrase", key=path) from error
        raise coded(LoginError(f"{path} is no OpenSSH or PEM private key of a kind we know (a PuTTY key: export it as OpenSSH key; "
                               "a FIDO key: set the connection to system ssh)"), "key_format", key=path) from error

    def _password(self):
        password = self.secret("password", f"Password for {self.target.user}@{self.target.name}")
        self._password_used = True
        left = self._try("password", "", lambda: self.transport.auth_password(self.target.user, password, fallback=False))
        if left is None:
            self.secrets.pop("password", None)      # never offered a second time
        return left

    def _interactive(self):
        before = self.transport.auth_timeout
        self.transport.auth_timeout = ANSWER_SECONDS
        try:
            return self._try("keyboard-interactive", "", lambda: self.transport.auth_interactive(self.target.user, self._answers))
        finally:
            self.transport.auth_timeout = before

    def _answers(self, title, instructions, prompts):
        """Answer the server's prompts ([(text, echo)]): the stored password once, everything else by the user."""
        answers = []
        for text, echo in prompts:
            code = any(word in text.lower() for word in CODE_WORDS)
            if not echo and not code and not self._password_used and self.secrets.get("password"):
                self._password_used = True
                answers.append(self.secrets["password"])
                continue
            head = "\n".join(part for part in (title, instructions) if part)
            answers.append(self._asked("code" if code or echo else "password", f"{head}\n{text}".strip(), echo))
            self.asked = True
        return answers

    # -- helpers

    def secret(self, kind, prompt):
        """Return the password or passphrase: the one in memory, or what the user types now, which is then kept in memory."""
        if not self.secrets.get(kind):
            self.secrets[kind] = self._asked(kind, prompt, False)
        return self.secrets[kind]

    def _asked(self, kind, prompt, echo):
        question = {"kind": kind, "prompt": prompt, "echo": echo, "host": self.target.name, "fingerprint": None, "key_type": None}
        answer = self._ask(question) if self._ask else None
        if answer is None:
            self._unanswered = True
            raise coded(LoginError(f"{self.target.name} wants an answer and nobody gave one: {prompt}"), "no_answer", host=self.target.name)
        return answer

    def _try(self, method, what, attempt):
        try:
            return self._attempt(attempt)
        except self.ssh.BadAuthenticationType:
            pass                    # the server changed its mind about this method: the same as refusing
        except self.ssh.AuthenticationException as error:
            if "timeout" in str(error).lower():
                raise coded(LineError(f"{self.target.name} did not answer the login in time"), "line", said="login_slow",
                            host=self.target.name) from error
        self.tried.append((method, what))
        return None

    def _attempt(self, attempt):
        try:
            return attempt() if attempt != self.transport.auth_none else attempt(self.target.user)
        except self.ssh.AuthenticationException:
            if self.transport.is_active():
                raise
            raise self._dropped() from None
        except (self.ssh.SSHException, EOFError, OSError) as error:
            if self.transport.is_active() and isinstance(error, self.ssh.SSHException):     # a broken line may look active still
                raise coded(LoginError(f"the login at {self.target.name} failed: {error}"), "login", said="login_failed",
                            host=self.target.name, detail=str(error)) from error
            raise self._dropped() from error

    def _dropped(self):
        """The server hung up: because it refused enough, because nobody answered, or because the line is gone."""
        if self._unanswered:
            return coded(LoginError(f"{self.target.name} asked something that nobody answered"), "no_answer", host=self.target.name)
        if self.tried:
            return self._refused("refused the login and hung up", [])
        return coded(LineError(f"the line to {self.target.name} was cut during the login"), "line", said="login_cut", host=self.target.name)

    def _refused(self, did, offered):
        tried = ", ".join(f"{method} {what}".strip() for method, what in self.tried) or "nothing"
        takes = f"; it takes {', '.join(offered)}" if offered else ""
        error = LoginError(f"{self.target.user}@{self.target.name} {did} (tried: {tried}{takes}). It is not tried again by itself: "
                           "check user, key or password, then test the connection")
        return coded(error, "login", said="login_refused" if offered else "login_over", user=self.target.user, host=self.target.name,
                     tried=", ".join(f"{method} {what}".strip() for method, what in self.tried), offered=list(offered))


def _public_blob(path):
    """Return the public key (bytes) beside a private key file, or None."""
    import base64
    import binascii
    try:
        return base64.b64decode(Path(f"{path.removesuffix('.pub')}.pub").read_text(encoding="utf-8").split()[1], validate=True)
    except (OSError, IndexError, UnicodeDecodeError, binascii.Error):
        return None             # no public half there: nothing to compare with
