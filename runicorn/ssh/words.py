"""What ssh writes on standard error when it gets nowhere, read as our errors: who refused, in whose words,
and what to do.

No manual fixes these messages; they are OpenSSH's (sshconnect.c, sshconnect2.c, packet.c, clientloop.c), the
same since 7.x.
"""

import re
import shlex

from runicorn.errors import HostKeyError, LineError, LoginError, RemoteError

LONGEST = 500               # characters of a sentence that are somebody else's
# Said whether or not it works, or said of what another line says better.
NOISE = re.compile(r"@|debug\d: |\*\* |Warning: Permanently added|Connection closed by UNKNOWN "
                   r"port|Transferred: |Authenticated to |"
                   r"Authenticated using |Bytes per second|IT IS POSSIBLE THAT|Someone could be "
                   r"eavesdropping|Pseudo-terminal will not|"
                   r"It is also possible that|Disconnected from |Killed by signal|Shared connection to "
                   r"|Agent pid|Warning: remote port")
# ssh's own lines; all others were said by the server, a jump host's wrapper or a ProxyCommand.
OWN = re.compile(r"ssh: |(ssh|kex|banner)\w*[ _]exchange|Connection (closed|reset|to|timed) |Received "
                 r"disconnect from|client_loop: |"
                 r"(\S+: )?Permission denied( \(|, please|\.$)|Host key |No \S+ host key is known|Unable to "
                 r"negotiate |Load key |"
                 r"no such identity: |sign_and_send_pubkey: |Permissions \S+ for |This private key will "
                 r"be|Could not resolve |Bad |"
                 r"Too many authentication|Timeout, server |(subsystem|exec|shell) request failed|channel "
                 r"\d+: |Control socket |"
                 r"mux_client|ControlSocket |command-line|\S+: line \d+: |\S+ line \d+: |\S+: "
                 r"terminating,|ssh_dispatch|Read from |"
                 r"Write failed|packet_write|stdio forwarding failed|Offending |remove with|\s*ssh-keygen "
                 r"-f |Add correct host key|"
                 r"The fingerprint for|SHA256:|Please contact your system admin|This could be|Warning: "
                 r"|Could not |key_load|identity_sign|"
                 r"agent |get_agent|hostkeys_|percent_|Missing argument|Cannot |proxy|jumphost|RSA "
                 r"host|Certificate |Connection ")
DENIED = re.compile(r"^(\S+: )?Permission denied( \([\w@.,-]*\)|, please try again)?\.?$|^(Received "
                    r"disconnect from \S+ port \d+:\d+: )?"
                    r"Too many authentication failures|No supported authentication methods", re.M)
# What it still takes, but must ask for
ASKS = re.compile(r"Permission denied \([\w@.,-]*(password|keyboard-interactive)[\w@.,-]*\)")
HUNG_UP = re.compile(r"^Connection closed by (?!UNKNOWN|remote)\S+|^Connection to \S+ closed", re.M)
PARTING = re.compile(r"^Received disconnect from \S+ port \d+:(\d+): ?(.*)", re.M)
# SSH_DISCONNECT_CONNECTION_LOST, …_TOO_MANY_CONNECTIONS (RFC 4253, 11.1): worth another try
FOR_NOW = ("10", "12")
OFFER = re.compile(r"^Unable to negotiate with .*?: no matching (.+?) found\. Their offer: (\S*)", re.M)
KEYWORDS = {"key exchange method": "KexAlgorithms", "host key type": "HostKeyAlgorithms", "cipher": "Ciphers",
            "MAC": "MACs"}
MARKS = ("ext-info-", "kex-strict-")        # in a list of key exchanges, but none
NO_COMMANDS = re.compile(r"(exec|shell) request failed|channel \d+: open failed")


def error(host, stderr, command):
    """Return the RemoteError that `stderr` (str, ssh's standard error) stands for, or None where it tells
    nothing.

    host: as the user calls it. command: what to type to try the same (str).
    """
    stderr = stderr.replace("\r", "")
    words = _Words(stderr)
    kinds = (_host_key, _config, _algorithms, _denied, _no_sftp, _turned_away)
    meant = next(filter(None, (kind(host, stderr, words, command) for kind in kinds)), None)
    if meant or not words.all:
        return meant
    return LineError(f"{host}: {words.all}", code="line", said="system_line", host=host, detail=words.all)


def sentence(stderr):
    """Return the telling lines of ssh's standard error in one line (str)."""
    return _Words(stderr).all


def no_commands(stderr):
    """Whether ssh got in, and the server granted no command (bool)."""
    return NO_COMMANDS.search(stderr) is not None


def printable(text):
    """Return somebody else's text (str) in one line and without what a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class _Words:
    """ssh's own lines, and those of the server or whoever is on the way."""

    def __init__(self, stderr):
        lines = list(filter(None, map(printable, stderr.splitlines())))
        telling = [line for line in lines if not NOISE.match(line)] or [line
                                                                        for line in lines
                                                                        if not line.startswith("@")]
        self.own = _joined(line for line in telling if OWN.match(line))
        self.others = _joined(line for line in telling if not OWN.match(line))
        self.all = _joined(telling)

    def quoted(self, own=None):
        """Return ssh's words (or `own`) with the others' beside them."""
        own = own or self.own
        return f'{own} (it says: "{self.others}")' if own and self.others else own or self.others


def _joined(lines):
    text = "; ".join(dict.fromkeys(line.rstrip(".") for line in lines))
    return text if len(text) <= LONGEST else "…" + text[-LONGEST:]


def _found(pattern, text, default=""):
    match = re.search(pattern, text)
    return match[1] if match else default


def _host_key(host, stderr, words, command):
    if "Host key verification failed" not in stderr and "marked as revoked" not in stderr:
        return None
    offered = _found(r"(SHA256:[\w+/=]+)", stderr, "?")
    if "REVOKED HOST KEY" in stderr or "marked as revoked" in stderr:
        return HostKeyError(f"the host key of {host} ({offered}) is marked as revoked in known_hosts: do "
                            f"not connect; ask the "
                            "server's administrator", code="host_key_revoked", host=host, offered=offered)
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" not in stderr:
        name = _found(r"No \S+ host key is known for (\S+)", stderr)
        of, code = (name, "system_key_unknown") if name else (f"{host}, or of a host on the way there",
                                                              "system_key_unknown_way")
        return HostKeyError(f"ssh does not know the host key of {of}: run `{command}` once in a terminal, "
                            f"compare the key with "
                            "the server's and say yes, then test again",
                            code="host_key_unknown", said=code, host=name or host, command=command)
    name, kind = (_found(r"Host key for (\S+) has changed", stderr, host),
                  _found(r"for the (\S+) key sent by", stderr))
    places = re.findall(r"^Offending (\S+) key in (.+):\d+", stderr, re.M)
    removal = [f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(path)}"
               for path in dict.fromkeys(path for _, path in places)]
    listed, shown = (", ".join(f"{kind_known} in {path}" for kind_known, path in places),
                     f"{kind} {offered}".strip())
    forget = (" and ".join(f"`{command_text}`" for command_text in removal)
              or f"`ssh-keygen -R {shlex.quote(name)}`")
    return HostKeyError(f"THE HOST KEY OF {name} CHANGED. Known: {listed or 'another'}. Offered: {shown}. "
                        f"Someone may be listening "
                        f"in, or the server was set up anew: ask its administrator, then forget the old key "
                        f"with {forget}",
                        code="host_key_changed", host=name, known=listed, offered=shown, removal=removal,
                        places=[list(entry) for entry in places])


def _config(host, stderr, words, command):
    if not re.search(r"Bad configuration option|terminating, \d+ bad|Bad owner or permissions|line \d+: "
                     r"(Bad|Unsupported|Missing)", stderr):
        return None
    return RemoteError(f"ssh can't use its configuration: {words.own}. Mend it until `{command}` works, "
                       f"then test again",
                       code="refused", said="system_config", detail=words.own, command=command)


def _algorithms(host, stderr, words, command):
    match = OFFER.search(stderr)
    if match:
        offers = [name for name in match[2].split(",") if name and not name.startswith(MARKS)]
        option = f"{KEYWORDS.get(match[1], 'KexAlgorithms')} +{offers[0] if offers else '…'}"
    elif "Invalid key length" in stderr:
        option = "RequiredRSASize 1024"
    elif "Unable to negotiate" in stderr or "no hostkey alg" in stderr:
        option = "KexAlgorithms +…"
    else:
        return None
    return RemoteError(f"ssh and {host} share no algorithm: {words.own}. If you trust a server as old as "
                       f"that, allow it one in "
                       f"~/.ssh/config, under `Host {host}`: `{option}`; a newer ssh helps where the server "
                       f"is the newer one", code="algorithms", said="system_algorithms", host=host,
                       detail=words.own, option=option)


def _denied(host, stderr, words, command):
    if not DENIED.search(stderr):
        return None
    detail = words.quoted()
    if "Too many authentication failures" in stderr:
        advice = ("ssh offered too many keys: name the right one with IdentityFile "
                  f"and `IdentitiesOnly yes` under `Host {host}`")
        return LoginError(f"ssh did not get into {host}: {detail}. {advice} in ~/.ssh/config, then test "
                          f"again", code="login",
                          said="system_many_keys", host=host, detail=detail)
    if ASKS.search(stderr):
        return LoginError(f"ssh did not get into {host} without asking: {detail}. It is not tried again by "
                          f"itself: if `{command}` "
                          "asks you for a password or a code, set the connection to key or password "
                          "(--auth), which ask you here",
                          code="login", said="system_asks", host=host, detail=detail, command=command)
    return LoginError(f"ssh did not get into {host}: {detail}. It is not tried again by itself: make "
                      f"`{command}` work, then test "
                      "again", code="login", said="system_login", host=host, detail=detail, command=command)


def _no_sftp(host, stderr, words, command):
    if "subsystem request failed" not in stderr:
        return None
    return RemoteError(f"{host} offers no SFTP; ask for `Subsystem sftp internal-sftp` in its sshd_config "
                       f"({words.quoted()})",
                       code="sftp", host=host)


def _turned_away(host, stderr, words, command):
    """The server hung up during the login and said why: a refusal, unless its number says that it is one for
    now."""
    parting = PARTING.search(stderr)
    if parting and parting[1] in FOR_NOW or "_exchange" in stderr or "banner exchange" in stderr:
        return None
    if not parting and not (words.others and HUNG_UP.search(stderr)):
        return None
    detail = "; ".join(filter(None, (printable(parting[2]) if parting else "",
                                     words.others)))[-LONGEST:] or words.own
    return LoginError(f"{host} refused the login and says: {detail}. It is not tried again by itself: set "
                      f"it right, make " f"`{command}` work, then test again", code="login",
                      said="system_refused", host=host, detail=detail, command=command)
