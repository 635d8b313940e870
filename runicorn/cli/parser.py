"""The parser of a command: refuses in one sentence, and shows an example."""

import argparse

from runicorn.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError where argparse would print its usage and exit."""

    def __init__(self, prog, about, example, **more):
        super().__init__(prog=prog, description=about, epilog=f"example:\n  {example}",
                         formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more)

    _read = None

    def read_by(self, read, usage=None):
        """Have read(self, parse, words) return the options of a command line's words (list of str);
        parse(words) is argparse's way. usage: what --help shows of them, where argparse's own words say it
        wrong."""
        self._read, self.usage = read, usage

    def parse_args(self, words):
        parse = super().parse_args
        return self._read(self, parse, words) if self._read else parse(words)

    def error(self, message):
        raise UsageError(f"{message} (`{self.prog} --help` shows how)")
