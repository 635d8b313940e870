"""`runicorn run`: any program as a run, unchanged. The run is a convenience; the program, its output and its
exit code come first."""

import errno
import gc
import json
import os
import sys

from runicorn.errors import RunicornError, UsageError
from runicorn.writer import link, processes
from runicorn.writer.notice import say

EXAMPLES = {"run": "runicorn run --project vision --name resnet50 --config lr=0.1 -- python train.py "
                   "--epochs 90"}
SHELLS_CODE = 127           # of a program that is not there
# Python lets another thread of ours go on for ten times as long, while output waits to be passed on
SWITCH_SECONDS = 0.0005
# What a limit of the system's says: the program itself may have room
SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM}
COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


# option: (what it is called in `Options`, its metavariable or None for a flag, help). Those in MANY may be
# repeated.
OPTIONS = {"--project": ("project", "P", "what is worked on (default: default)"),
           "--name": ("name", "N", "the experiment (default: the script's name)"),
           "--tag": ("tag", "T", "a word to find the run by; may be repeated"),
           "--notes": ("notes", "TEXT", "what the run is about"),
           "--config": ("config", "K=V", "a setting, such as lr=0.1; may be repeated"),
           "--root": ("root", "DIR", "the root folder (default: RUNICORN_DIR, or as in config.json)"),
           "--watch": ("watch", "DIR",
                       "also take metrics that the program logs in files below DIR; may be repeated"),
           "--each-task": ("each_task", None,
                           "each task of a launch (srun, mpirun) is an experiment of its own"),
           "--no-wandb": ("no_wandb", None,
                          "leave `import wandb` to W&B; without it its calls write into this run"),}
MANY = ("tag", "config", "watch")


class Options:
    """What the command line says: an attribute for each of OPTIONS, and `program`, the list of its words."""

    def __init__(self):
        for name, metavariable, _ in OPTIONS.values():
            setattr(self, name, [] if name in MANY else None if metavariable else False)
        self.program = []

    def take(self, argv):
        """Take a command line: ours ends at the first word that is no option. Not with argparse, which takes
        longer to import."""
        arguments = list(argv)
        while arguments and arguments[0] != "--" and arguments[0][:1] == "-":
            word, equals, value = arguments.pop(0).partition("=")
            name, metavariable, _ = OPTIONS.get(word, (None, None, None))
            if name is None or equals and not metavariable:
                raise UsageError(f"unrecognized arguments: {word} (`runicorn run --help` shows how)")
            if metavariable and not equals and not arguments:
                raise UsageError(f"argument {word}: expected one argument (`runicorn run --help` shows how)")
            value = (value if equals else arguments.pop(0)) if metavariable else True
            setattr(self, name, [*getattr(self, name), value] if name in MANY else value)
        self.program = arguments[1:] if arguments[:1] == ["--"] else arguments
        if not self.program:
            raise UsageError("which program? runicorn run [OPTION ...] -- python train.py (`runicorn run "
                             "--help` shows how)")
        return self


def main(argv):
    """Run the command line `argv` (list of str); returns an exit code where no program ran, and ends as the
    program else."""
    if argv[:1] in (["--help"], ["-h"]):
        return print(_help())
    return run(Options().take(argv))


def _help():
    rows = [(f"{option} {metavariable or ''}".strip(), text)
            for option, (_, metavariable, text) in OPTIONS.items()]
    return "\n".join(["usage: runicorn run [OPTION ...] [--] PROGRAM [ARGUMENT ...]", "",
                      "Run any program as a run: its output, state and metrics, nothing changed in it.", "",
                      "options:", *(f"  {option:<16}{text}"
                                    for option, text in [("-h, --help", "show this help"), *rows]), "",
                      "example:", f"  {EXAMPLES['run']}"])


def run(options):
    """Run the program, and end as it does; returns an exit code only where it could not be started."""
    gc.disable()                # what is made until the program has started, stays
    sys.setswitchinterval(SWITCH_SECONDS)
    if hasattr(os, "fork"):
        from runicorn.cli.program import Program
    else:
        from runicorn.cli.program_threads import Program
    inherited = _inherited()
    _fill_standard_streams()
    argv, environ = options.program, _environment()
    refusal = _why_not(argv[0], environ)
    if refusal:
        print(f"runicorn: {refusal[0]}", file=sys.stderr)
        return refusal[1]
    if _is_nested(options):
        return _become(argv, environ)
    record = _begin(options, argv, environ)
    if record is None:
        return _become(argv, environ)
    from runicorn.writer.program_run import joint_verdict, oom_kills, verdict
    if options.root:
        environ["RUNICORN_DIR"] = record.root           # for a run of its own that a script in it makes
    line, kills = _link(record, environ), oom_kills()
    if line is not None and not options.no_wandb:
        _offer_wandb(line.folder, environ)
    program = Program(argv, environ)
    try:
        program.start(record.log_file, line, inherited)
    except OSError as error:
        if error.errno in SHORTAGES:
            _attempt(record.conclude, {"status": "interrupted", "exit_code": None,
                                       "error": f"not recorded: {error.strerror}"}, True)
            if line is not None:
                line.close()
                del environ[link.LINK]
            say(f"nothing more is recorded ({error.strerror}); the program runs without it")
            return _become(argv, environ)
        record.conclude({"status": "failed", "exit_code": SHELLS_CODE,
                         "error": f"{argv[0]}: {error.strerror}"})
        print(f"runicorn: {argv[0]}: {error.strerror}", file=sys.stderr)
        return 126 if isinstance(error, PermissionError) else SHELLS_CODE
    gc.freeze()
    gc.enable()
    _attempt(_accompany, record, options.watch, line)
    program.wait()
    own = verdict(program.status, program.stop, kills is not None and (oom_kills() or 0) > kills)
    _attempt(record.take_back)
    _attempt(lambda: record.conclude(joint_verdict(own, record.told, program.pid), hurry=program.status < 0))
    if line is not None:
        line.close()
    program.leave()


def _environment():
    """Return the environment we were given (dict): where the locale is C, Python has put a variable into ours
    (PEP 538)."""
    environ = dict(os.environ)
    if environ.get("LC_CTYPE") in COERCED:
        try:
            with open("/proc/self/environ", "rb") as file:
                if not any(variable.startswith(b"LC_CTYPE=") for variable in file.read().split(b"\0")):
                    del environ["LC_CTYPE"]
        except OSError:
            pass                # no Linux
    return environ


def _offer_wandb(above, environ):
    """Have `import wandb` in the program find what writes into this run. above: a folder of the run's time
    (str)."""
    try:
        from runicorn.cli.wandb_folder import fill_folder  # here: --no-wandb does without
        folder = os.path.join(above, "first")
        fill_folder(folder)
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, environ.get("PYTHONPATH")]))
    except (ImportError, OSError) as error:
        say(f"wandb stays what it is: {error}")


def _watch(record, folders):
    """Have metrics that the program writes in files of its own taken into the run."""
    from runicorn.cli.program_files import ProgramFiles
    ours = {record.root, os.path.realpath(record.root), *(_identity(number) for number in (1, 2))}
    files = ProgramFiles([os.curdir, *folders], ours, record.take, lambda: record.writer is not None,
                         record.logged, lambda: record.events_path)
    record.before_closing(files.finish)
    files.start()


def _identity(number):
    """Return (device, inode) of a descriptor: output that goes into a file is in the log already."""
    status = os.fstat(number)
    return status.st_dev, status.st_ino


def _attempt(step, *arguments):
    """Take a step of ours: whatever goes wrong in it, the program runs, and its exit code is ours."""
    try:
        step(*arguments)
    except Exception as error:
        say(f"{getattr(step, '__name__', 'the run')}: {type(error).__name__}: {error}; the program goes on")


def _accompany(record, folders, line):
    """Have done what is done beside the program."""
    if line is not None:
        record.beside_links(os.path.dirname(line.folder))
    record.start()
    _watch(record, folders)


def _is_nested(options):
    """Whether this is below another `runicorn run`, whose run it all is."""
    above = link.ask({"ask": "place"})
    if above and any((options.project, options.name, options.tag, options.config, options.notes,
                      options.root)):
        say(f"this is part of {above['project']}/{above['name']}: options of a `runicorn run` within it are "
            f"not recorded")
    return above is not None


def _link(record, environ):
    """Return the Link by which scripts find the run, its path in `environ`; None where there can be none."""
    environ.pop(link.LINK, None)            # of one that is no more
    try:
        line = link.Link(record.answer)
    except (AttributeError, OSError) as error:
        say(f"a script that calls runicorn.init() makes a run of its own here: {error}")
        return None
    environ[link.LINK] = line.path
    return line


def _begin(options, argv, environ):
    """Return the run of the program, None where there can't be one or it is another task's; `environ` (dict)
    says so then."""
    try:
        from runicorn.layout import legible
        from runicorn.writer.beginning import begin_program
        from runicorn.writer.program_run import ProgramRun, script_of
        name = options.name or os.path.splitext(os.path.basename(script_of(argv)))[0] or "default"
        spec = {"project": legible(options.project or "default"), "name": legible(name),
                "config": dict(map(_setting, options.config)), "tags": options.tag, "notes": options.notes}
        quiet = os.environ.get("RUNICORN_QUIET", "").lower() not in ("", "0", "false", "no")
        fixed = [key for key in ("project", "name") if getattr(options, key)]
        record = begin_program(argv, spec, fixed, options.root, quiet, options.each_task)
        if isinstance(record, ProgramRun):
            return record
        say(f"task {record.rank} of {record.size} is not recorded (task 0 is). --each-task records each as "
            f"an experiment of its own.")
        environ[link.RANK] = f"{record.rank}/{record.size}"
        environ.update({variable: spec[key] for key, variable in (("project",
                                                                   link.PROJECT), ("name", link.NAME))
                        if key in fixed})
    except RunicornError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        say(f"nothing is recorded: {str(error).rstrip('.')}. Give --root, or RUNICORN_DIR, a folder that "
            f"can be written")
    except Exception as error:          # a fault of ours: the program is here to run
        say(f"nothing is recorded: {type(error).__name__}: {error}")
    return None


def _setting(word):
    """Return (key, value) of "key=value": a value that is JSON (0.1, true, [1, 2]) is that, any other is
    text."""
    key, equals, text = word.partition("=")
    if not (key and equals):
        raise UsageError(f"--config {word!r} is no setting; write it as lr=0.1")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


def _become(argv, environ):
    """Be the program: nothing of ours is left. Where processes don't become others, run it and return its
    exit code."""
    if not hasattr(os, "fork"):
        from runicorn.cli.program_threads import become
        return become(argv, environ)
    import signal
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if signal.getsignal(signal.SIGINT) is signal.SIG_IGN
                  else signal.SIG_DFL)
    os.execvpe(argv[0], argv, environ)


def _why_not(word, environ):
    """Return (sentence, exit code) where no program `word` can be started, as a shell has them, else None."""
    if not hasattr(os, "fork"):
        import shutil
        program = shutil.which(word, path=environ.get("PATH"))
    else:
        # Not shutil's `which`, which imports much
        folders = environ.get("PATH", os.defpath).split(os.pathsep)
        paths = [word] if os.sep in word else [os.path.join(folder, word) for folder in folders]
        program = any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths)
    if program:
        return None
    if not os.path.dirname(word):
        return f"{word}: there is no such program in PATH", SHELLS_CODE
    if not os.path.lexists(word):
        return f"{word}: there is no such file", SHELLS_CODE
    if os.path.isdir(word):
        return f"{word}: it is a folder", 126
    return f"{word}: permission denied; it is not executable (chmod +x)", 126


def _fill_standard_streams():
    """Where a standard stream is closed, open nothing under its number: what we open would be taken for
    it."""
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)


def _inherited():
    """Return the descriptors above 2 that whoever started us left open for the program (list of int)."""
    if processes.WINDOWS or not os.path.isdir("/proc/self/fd"):
        return []
    numbers = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                numbers.append(int(name))
        except OSError:
            pass                        # the one that listed the folder
    return numbers
