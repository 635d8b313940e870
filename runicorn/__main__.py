"""`python -m runicorn` is `runicorn`."""

from runicorn.cli.main import entry

entry()
