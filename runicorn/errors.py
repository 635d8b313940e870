"""The error family. Every error we raise on purpose is here; its message is for the user, its exit code for
the shell."""


class RunicornError(Exception):
    """Anything we raise on purpose: what happened, to what, and what to do next, in one sentence.

    code: a stable word for what happened, or None; values: of the sentence, for the pages' translation.
    values["said"], where there is one, names the sentence; else `code` does.
    """

    exit_code = 1

    def __init__(self, message, /, code=None, **values):
        super().__init__(message)
        self.code, self.values = code, values


class UsageError(RunicornError):
    """The command or call can't mean anything: a wrong value, an unknown or ambiguous name."""

    exit_code = 2


class NotFoundError(UsageError):
    """No run, connection or file of that name."""


class AmbiguousError(UsageError):
    """More than one run or connection fits; the message lists some, and `candidates`, where the raiser set
    it, more full names."""


class FilterError(UsageError):
    """A filter that can't be understood; `at` is the place in its text (characters from the start)."""

    def __init__(self, message, at=0, **sentence):
        super().__init__(message, **sentence)
        self.at = at


class LayoutError(RunicornError):
    """A folder, a path or a name that a root may not have."""


class DataError(RunicornError):
    """A run's file that can't be read as what it should be."""


class SettingsError(RunicornError):
    """config.json or overlay.json can't be read or written, or a value in it is wrong."""


class MissingPackageError(RunicornError):
    """A package that this command needs is not installed; the message names it and the way to get it."""


class BusyError(RunicornError):
    """Somebody else holds it: a port, a mirror's lock. The message says who."""


class RemoteError(RunicornError):
    """The far side could not be reached, read or believed."""

    exit_code = 3


class LineError(RemoteError):
    """The line failed: no route, refused, timed out, cut. Worth another try later."""


class LoginError(RemoteError):
    """The server refused the login. Never tried again by itself: sshd penalises the whole address."""


class HostKeyError(RemoteError):
    """The host key is unknown, changed or revoked. Never tried again by itself."""


class ProtocolError(RemoteError):
    """The server broke the SFTP protocol: wrong ids, oversize packets, garbage."""


class SftpError(RemoteError):
    """The server answered one request with an error status (`status`: SFTP v3 code,
    draft-ietf-secsh-filexfer-02 section 7)."""

    def __init__(self, message, status, **sentence):
        super().__init__(message, **sentence)
        self.status = status


class MissingFileError(SftpError):
    """SSH_FX_NO_SUCH_FILE (2)."""


class DeniedError(SftpError):
    """SSH_FX_PERMISSION_DENIED (3)."""


class HandlesError(SftpError):
    """The server lets no more files be open, and nobody is about to close one."""


class FaultError(RunicornError):
    """A mistake of our own, which the message places. Trying again mends nothing."""


class SyncError(RunicornError):
    """The mirror on this machine can't be written or trusted: disk full, folder taken, index broken."""
