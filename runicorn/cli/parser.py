"""The parser of a command: refuses in one sentence, and shows an example."""

import argparse

from runicorn.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError where argparse would print its usage and exit."""

    def __init__(self, prog, about, example, **more):
        super().__init__(prog=prog, description=about, epilog=f"example:\n  {example}",
                         formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more)

    def error(self, message):
        raise UsageError(f"{message} (`{self.prog} --help` shows how)")
