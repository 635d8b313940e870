"""Log training to plain files; watch it from anywhere over SSH."""

from runicorn.version import VERSION as __version__

__all__ = ["__version__"]
