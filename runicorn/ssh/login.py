"""Who gets in, and how: keys, agent, password and the server's own questions, each tried once. Is handed
paramiko, opens no line."""

from runicorn.errors import LineError, LoginError
from runicorn.ssh import keys as ssh_keys

STEPS = 4                   # a server may ask for several methods one after another (key, then a code)
# How long the user may look for a one-time code; sshd itself waits 120 s by default
ANSWER_SECONDS = 300
# For the server to answer an attempt: a slow PAM or directory; sshd's own limit is 120 s
LOGIN_SECONDS = 60
# That only the system's ssh goes
OTHERS_WAYS = ("gssapi-keyex", "gssapi-with-mic", "gssapi", "hostbased")
CODE_WORDS = ("code", "otp", "token", "passcode", "verification", "duo", "factor", "验证码", "动态")
METHODS = {"key": ("publickey",), "agent": ("publickey",), "password": ("password", "keyboard-interactive"),
           "hop": ("publickey", "password", "keyboard-interactive")}


class Login:
    """One login of `target` over `transport`. `secrets` (password, passphrase) is read, and filled with what
    the user types."""

    def __init__(self, ssh, transport, target, ask, secrets):
        self.ssh, self.transport, self.target, self.secrets = ssh, transport, target, secrets
        self._ask = ask
        # The server asked something that only the user could answer: no silent second login
        self.asked_user = False
        self.offered = []           # methods the server takes
        self.tried = []             # (method, what) refused by the server
        self._password_used = self._unanswered = False
        # Of the last attempt: how many words of the server came before it; what it is
        self._heard, self._trying = 0, None
        transport.await_login(LOGIN_SECONDS)

    def run(self):
        """Log in. Raises LoginError (refused, nobody answered, key missing) or LineError (cut meanwhile)."""
        offered = self.offered = self._offered()
        allowed = METHODS[self.target.auth]
        for _ in range(STEPS):
            if not offered:
                return
            offered = self._step(offered, allowed)
            # The next step is the server's choice
            allowed = ("keyboard-interactive", "password", "publickey")
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
                methods = self._keys()
            elif method == "password":
                methods = self._password()
            else:
                methods = self._interactive()
            if methods is not None:
                return methods
            if self.target.auth != "hop":
                break               # a refused login is not tried in a second way
        raise self._refused("refused the login" if self.tried else "does not take this way of logging in",
                            offered)

    # -- the three methods: each returns what the server still wants, or None when it refused

    def _keys(self):
        """Offer keys in turn until one is taken."""
        keys = ssh_keys.Keys(self.ssh, self.target, lambda prompt: self.secret("passphrase", prompt),
                             self.secrets)
        offered = False
        try:
            for key, label in keys.candidates():
                offered = True
                methods = self._try("key", label,
                                    lambda key=key: self.transport.auth_publickey(self.target.user, key))
                if methods is not None:
                    return methods
        finally:
            keys.close()
            self.tried += [("key", f"{path} ({why})") for path, why in keys.passed_over.items()]
        if not offered and self.target.auth != "hop":
            raise keys.nothing()
        return None

    def _password(self):
        password = self.secret("password", f"Password for {self.target.user}@{self.target.name}")
        self._password_used = True
        methods = (self._try("password", "",
                             lambda: self.transport.auth_password(self.target.user, password,
                                                                  fallback=False)))
        if methods is None:
            self.secrets.pop("password", None)      # never offered a second time
        return methods

    def _interactive(self):
        before = self.transport.await_login(ANSWER_SECONDS)
        try:
            return self._try("keyboard-interactive", "",
                             lambda: self.transport.auth_interactive(self.target.user, self._answers))
        finally:
            self.transport.await_login(before)

    def _answers(self, title, instructions, prompts):
        """Answer the server's prompts ([(text, echo)]): the stored password once, everything else by the
        user."""
        answers = []
        for text, echo in prompts:
            code = any(word in text.lower() for word in CODE_WORDS)
            if not echo and not code and not self._password_used and self.secrets.get("password"):
                self._password_used = True
                answers.append(self.secrets["password"])
                continue
            head = "\n".join(line for line in (title, instructions) if line)
            answers.append(self._asked("code" if code or echo else "password", f"{head}\n{text}".strip(),
                                       echo))
            self.asked_user = True
        return answers

    # -- helpers

    def secret(self, kind, prompt):
        """Return the password or passphrase: the one in memory, or what the user types now, which is then
        kept in memory."""
        if not self.secrets.get(kind):
            self.secrets[kind] = self._asked(kind, prompt, False)
        return self.secrets[kind]

    def _asked(self, kind, prompt, echo):
        question = {"kind": kind, "prompt": prompt, "echo": echo, "host": self.target.name,
                    "fingerprint": None, "key_type": None}
        answer = self._ask(question) if self._ask else None
        if answer is None:
            self._unanswered = True
            raise LoginError(f"{self.target.name} wants an answer and nobody gave one: {prompt}",
                             code="no_answer", host=self.target.name)
        return answer

    def _try(self, method, label, attempt):
        self._trying = method, label
        try:
            return self._attempt(attempt)
        except self.ssh.BadAuthenticationType:
            pass                    # the server changed its mind about this method: the same as refusing
        except self.ssh.AuthenticationException as error:
            if "timeout" in str(error).lower():
                raise LineError(f"{self.target.name} did not answer the login in time", code="line",
                                said="login_slow", host=self.target.name) from error
        self.tried.append((method, label))
        return None

    def _attempt(self, attempt):
        self._heard = self.transport.heard
        try:
            return attempt() if attempt != self.transport.auth_none else attempt(self.target.user)
        except self.ssh.AuthenticationException:
            if self.transport.is_active():
                raise
            raise self._dropped() from None
        except (self.ssh.SSHException, EOFError, OSError) as error:
            # a broken line may look active still
            if self.transport.is_active() and isinstance(error, self.ssh.SSHException):
                raise LoginError(f"the login at {self.target.name} failed: {error}", code="login",
                                 said="login_failed", host=self.target.name, detail=str(error)) from error
            raise self._dropped() from error

    def _dropped(self):
        """The server hung up: because it refused enough, because nobody answered, or because the line is
        gone."""
        words = self.transport.words
        if self.transport.disconnected or self.transport.heard > self._heard:
            return self._refused("was refused and hung up on", [],
                                 [*self.tried, *filter(None, [self._trying])])
        if self._unanswered:
            return LoginError(f"{self.target.name} asked something that nobody answered", code="no_answer",
                              host=self.target.name)
        if self.tried:
            return self._refused("refused the login and hung up", [])
        return LineError(f"the line to {self.target.name} was cut during the "
                         f"login{f'; the server says: {words}' if words else ''}",
                         code="line", said="login_cut", host=self.target.name)

    def _refused(self, did, offered, tried=None):
        """Return the LoginError for a server that `did` so. offered: what it still takes; tried: in place of
        what it refused."""
        words, name = self.transport.words, self.target.name
        tried = ", ".join(f"{method} {label}".strip()
                          for method, label in (self.tried if tried is None else tried))
        takes = f"; it takes {', '.join(offered)}" if offered else ""
        sentence, advice = self._advice(offered, words)
        quote = f"; the server says: {words}" if words else ""
        return LoginError(f"{self.target.user}@{name} {did} (tried: {tried or 'nothing'}{takes}){quote}. It "
                          f"is not tried again by itself: " f"{advice}, then test the connection",
                          code="login", said=sentence, user=self.target.user, host=name, words=words,
                          tried=tried, offered=list(offered))

    @staticmethod
    def _advice(offered, words):
        """Return (the name of a refusal's sentence, what to do)."""
        if "Too many authentication failures" in words:
            return ("login_many_keys",
                    "name the right key (--key, or IdentityFile with `IdentitiesOnly yes` in ~/.ssh/config)")
        if offered and all(method in OTHERS_WAYS for method in offered):
            return "login_other_ways", ("only your system's ssh goes that way (Kerberos, host keys): "
                                        "set the connection to it (auth: system)")
        sentence = ("login_refused" if offered else "login_over") + ("_words" if words else "")
        if words and not offered:
            return sentence, "set right what it says"
        return sentence, "check user, key or password (--auth key, agent, password or system)"
