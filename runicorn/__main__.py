"""`python -m runicorn` is `runicorn`."""

from runicorn.cli import entry

entry()
