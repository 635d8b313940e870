"""Parsing shared by the commands: subcommands, sizes, ages and ports."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from runicorn.cli.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30,
         "ti": 2**40}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Branch:
    """The subcommands of a command: `Branch(parser).add("list", about, example, run)` returns the parser of
    one."""

    def __init__(self, parser):
        self._parser = parser
        self._group = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Leaf)

    def add(self, name: str, about: str, example: str, run: Callable[..., Any] | None = None) -> Any:
        parser = self._group.add_parser(name, help=about, prog=f"{self._parser.prog} {name}", about=about,
                                        example=example)
        if run:
            parser.set_defaults(run=run)
        return parser


class _Leaf(Parser):
    def __init__(self, prog, about, example, **_):
        super().__init__(prog, about, example)


def size(text: str) -> int:
    """Return the bytes (int) that "1GB", "500 MB", "2GiB" or "1000" stand for; kB, MB, GB are powers of
    ten."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it as 500MB or 1GB")
    return int(float(match[1]) * BYTES[match[2] or ""])


def age(text: str) -> float:
    """Return the seconds (float) that "30d", "12h", "90m", "45s" or "2w" stand for."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write it as 30d, 12h or 90m")
    return float(match[1]) * SECONDS[match[2]]


def count(text: str) -> int:
    """Return a number of things (int, from 0 on)."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def port(text: str) -> int:
    """Return a TCP port (int, 0 to 65535)."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; a port is a number from 1 to 65535")
    return int(text)


def take_minus(parser: Parser) -> None:
    """Have a parser take a value and a filter that begin with "-" for what they are: `--sort -started`,
    `-state:failed`."""
    parser.read_by(lambda parser, parse, words: parse(_joined(parser, words)))


def _joined(parser, args):
    """Return `args` with what argparse would take for options put so that it does not: "--sort -started"
    becomes "--sort=-started", and a word such as "-state:failed" comes after "--"."""
    flags = parser._option_string_actions
    options, words, args = [], [], list(args)
    while args:
        word = args.pop(0)
        if word == "--":
            words += args
            break
        action = flags.get(word)
        value = args[0] if args and action is not None and action.nargs is None else ""
        if value[:1] == "-" and value != "--" and value.partition("=")[0] not in flags:
            options.append(f"{word}={args.pop(0)}")
        elif (word[:1] == "-" and word[1:2] not in ("-", "") and word.partition("=")[0] not in flags
              and _is_filter(word)):
            words.append(word)
        else:
            options.append(word)
            if action is not None and action.nargs is None and args:
                options.append(args.pop(0))
    return [*options, "--", *words] if words else options


def _is_filter(word):
    """Whether a word that begins with "-" is a term of the filter language with its minus: -state:failed,
    -tag:x."""
    return any(sign in word for sign in ":=<>")
