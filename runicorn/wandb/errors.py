"""W&B's errors, which scripts catch. Nothing here raises them."""

from enum import Enum

__path__ = []           # W&B has modules below it


class Error(Exception):
    """The root of the family."""

    def __init__(self, message="", context=None):
        super().__init__(message)
        self.message, self.context = message, context


class CommError(Error):
    """W&B's server could not be reached; there is none."""

    def __init__(self, message="", exc=None):
        super().__init__(message)
        self.exc = exc


class AuthenticationError(CommError):
    """No account; there is none."""


class UsageError(Error):
    """A call that W&B refuses."""


class UnsupportedError(UsageError):
    """What W&B's server can't do."""


class WaitTimeoutError(Error):
    """W&B's server was slow."""


class ConfigError(Error):
    """A setting that W&B refuses to change."""


class AlertLevel(Enum):
    """How serious an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def __getattr__(name):
    from runicorn.wandb.aliases import attribute
    return attribute(name, "errors")
