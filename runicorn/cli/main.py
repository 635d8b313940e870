"""`runicorn`: find the command, hand it its arguments, turn expected errors into one sentence and an exit
code.

Each command's module is imported when it is asked for, so `runicorn --version` and `runicorn manifest` stay
light, and the server copy, which has few of the modules, still answers. What runs here before that keeps to
Python 3.8.
"""

import errno
import os
import sys

from runicorn.errors import MissingPackageError, RunicornError, UsageError
from runicorn.version import VERSION

# name: (module below runicorn, what it does). The module has add_NAME(parser), which sets the function to
# run, and EXAMPLES: {NAME: text}.
COMMANDS = {
    "viewer": ("cli.viewer", "watch runs in the browser"),
    "manifest": ("manifest", "write the index of a root (also: generate-manifest)"),
    "sync": ("cli.sync", "mirror runs from servers without a browser"),
    "config": ("cli.config", "settings and SSH connections"),
    "runs": ("cli.runs", "list runs"),
    "show": ("cli.runs", "one run: config, summary, state, metrics"),
    "tail": ("cli.tail", "follow a run's metrics and log in the terminal"),
    "export": ("cli.export", "a run as CSV, TensorBoard log or HTML report; many as a Parquet dataset"),
    "bundle": ("cli.carry", "pack what is new into one file, for machines without a line"),
    "import": ("cli.carry", "take in a bundle, TensorBoard logs or old Runicorn folders"),
    "check": ("cli.carry", "does this root or run keep the format?"),
    "cache": ("cli.cache", "what the mirrors take on this disk, and cleaning it"),
    "run": ("cli.run", "any program as a run: its output, state and metrics, nothing changed in it"),
    "demo": ("cli.demo", "the whole workflow on this machine"),
}
SAME = {"generate-manifest": "manifest"}
FULL = (errno.ENOSPC, errno.EDQUOT)       # Python names no file with these
# Their modules parse for themselves: main(argv) -> exit code
OWN_ARGUMENTS = {"manifest", "demo", "run"}
# Once their function returned no thread has anything left to do
ALL_DONE = {"sync", "viewer"}


def entry():
    """The console script: run and exit."""
    if None in (sys.stdout, sys.stderr):        # closed by whoever started us: `>&-`
        sys.stdout, sys.stderr = (stream or open(os.devnull, "w", encoding="utf-8")
                                  for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # a name in Chinese must not kill `runs` on an ASCII terminal
            stream.reconfigure(errors="replace")
    code = main(sys.argv[1:])
    if sys.argv[1:2] and sys.argv[1] in ALL_DONE:
        leave(code)
    sys.exit(code)


def leave(code):
    """End the process without taking the interpreter apart: with paramiko loaded that takes 0.1 s, and a
    thread that is cut off in the middle of compiled code aborts all."""
    import atexit
    atexit._run_exitfuncs()         # as multiprocessing ends a process
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return                      # Python says it as it exits
    os._exit(code)


def main(argv):
    """Run one command line (list of str, without the program's name); returns the exit code."""
    try:
        return dispatch(argv) or 0
    except RunicornError as error:
        return refuse(str(error), error.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return silenced()
    except ModuleNotFoundError as error:
        if (error.name or "runicorn").startswith("runicorn"):
            raise
        return refuse(f"this needs the Python package {error.name}: pip install {error.name}", 1)
    except OSError as error:
        from runicorn.local_disk import WINDOWS  # where something went wrong only
        if (WINDOWS and error.errno == errno.EINVAL and error.filename is None
                and not sys.stdout.isatty()):
            return silenced()           # what that says of a pipe that nobody reads
        if error.filename is None and error.errno not in FULL:
            raise
        return refuse(f"{error.filename or 'a disk is full'}: {error.strerror}", 1)


def silenced():
    """`runicorn runs | head` has seen enough: no complaint at exit either. Returns the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def refuse(sentence, code):
    """Print why nothing came of it, on stderr; returns `code`."""
    from runicorn.cli.terminal import clean  # what a server named may be in it
    print("runicorn: " + "\n".join(map(clean, str(sentence).split("\n"))), file=sys.stderr)
    return code


def dispatch(argv):
    """Find the command in `argv` and run it; returns its exit code or None. Raises UsageError for an unknown
    one."""
    word = argv[0] if argv else "--help"
    if word in ("--version", "-V", "version"):
        print(f"runicorn {VERSION}")
        from importlib.util import find_spec  # here: it takes longer to load than a command to be found
        return find_spec("runicorn.namesake") and door("namesake").say()
    if word in ("--help", "-h", "help") and not argv[1:]:
        return print(overview())
    if word == "--completion":
        return print(door("cli.completion").script(argv[1] if argv[1:] else ""), end="")
    if word == "help":
        word, argv = argv[1], [argv[1], "--help"]
    name = SAME.get(word, word)
    if name not in COMMANDS:
        raise UsageError(f"there is no command {word!r}{suggestion(word)}; `runicorn --help` lists them")
    if name in OWN_ARGUMENTS:
        return door(COMMANDS[name][0]).main(argv[1:])
    options = parser_of(name).parse_args(argv[1:])
    return options.run(options)


def door(module):
    """Return a module of ours by name. Raises MissingPackageError where this copy has no such module."""
    try:
        __import__(f"runicorn.{module}")    # importlib's function takes longer to load than many a command
        return sys.modules[f"runicorn.{module}"]
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("runicorn."):
            raise
        raise MissingPackageError(f"this copy only writes; for the rest pip install "
                                  f"runicorn-{VERSION}-py3-none-any.whl") from error


def parser_of(name):
    """Return the parser of one command that does not parse for itself."""
    module, about = COMMANDS[name]
    commands = door(module)
    from runicorn.cli.parser import Parser
    parser = Parser(f"runicorn {name}", about, commands.EXAMPLES[name])
    getattr(commands, f"add_{name}")(parser)
    return parser


def overview():
    """Return the text of `runicorn --help`."""
    return "\n".join([f"runicorn {VERSION}: log training to plain files; watch it from anywhere over SSH.",
                      "", "usage: runicorn COMMAND [OPTION ...]", "",
                      *(f"  {name:<10}{about}" for name, (_, about) in COMMANDS.items()), "",
                      "`runicorn COMMAND --help` shows options and an example.",
                      "`runicorn --version` prints the version; `runicorn --completion bash|zsh|powershell` "
                      "a completion script."])


def suggestion(word):
    import difflib
    close = difflib.get_close_matches(word, [*COMMANDS, *SAME], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
