"""`runicorn run`: any program as a run, unchanged. The run is a convenience; the program, its output and its exit code come first."""

import argparse
import json
import os
import sys

from runicorn.errors import RunicornError, UsageError
from runicorn.writer import link, processes
from runicorn.writer.notice import say

EXAMPLES = {"run": "runicorn run --project vision --name resnet50 --config lr=0.1 -- python train.py --epochs 90"}
SHELLS_CODE = 127           # of a program that is not there


def add_run(parser):
    parser.add_argument("--project", help="what is worked on (default: default)")
    parser.add_argument("--name", help="the experiment (default: the script's name)")
    parser.add_argument("--tag", action="append", default=[], metavar="T", help="a word to find the run by; may be repeated")
    parser.add_argument("--notes", help="what the run is about")
    parser.add_argument("--config", action="append", default=[], metavar="K=V", help="a setting, such as lr=0.1; may be repeated")
    parser.add_argument("--root", metavar="DIR", help="the root folder (default: RUNICORN_DIR, or as in config.json)")
    parser.add_argument("--each-task", action="store_true", help="each task of a launch (srun, mpirun) is an experiment of its own")
    parser.add_argument("program", nargs="*", metavar="PROGRAM ...", help="what to run, and its arguments")
    parser.read_by(_with_program, "runicorn run [OPTION ...] [--] PROGRAM [ARGUMENT ...]")
    parser.set_defaults(run=run)


def _with_program(parser, parse, words):
    """Parse our options alone: the rest, from the first word on that is none, is the program's, whatever it looks like."""
    flags, own, rest = parser._option_string_actions, [], list(words)
    while rest and rest[0] != "--" and rest[0][:1] == "-":
        action = flags.get(rest[0])
        own.append(rest.pop(0))
        if action is not None and action.nargs is None and rest:
            own[-1:] = [f"{own[-1]}={rest.pop(0)}"]
    program = rest[1:] if rest[:1] == ["--"] else rest
    options = parse(own)
    if not program:
        parser.error("which program? runicorn run [OPTION ...] -- python train.py")
    return argparse.Namespace(**{**vars(options), "program": program})


def run(options):
    """Run the program; returns its exit code. Where a signal ended it, so does that signal end this process."""
    from runicorn.cli.program import Program, why_not
    inherited = _inherited()
    _fill_standard_streams()
    argv, environ = options.program, dict(os.environ)
    refusal = why_not(argv[0], environ)
    if refusal:
        print(f"runicorn: {refusal[0]}", file=sys.stderr)
        return refusal[1]
    if _is_nested(options):
        return _become(argv, environ)
    record = _begin(options, argv, environ)
    if record is None:
        return _become(argv, environ)
    from runicorn.writer.program_run import joint_verdict, oom_kills, verdict
    line, kills = _link(record, environ), oom_kills()
    program = Program(argv, environ)
    try:
        program.start(record.log_file, line, inherited)
    except OSError as error:
        record.conclude({"status": "failed", "exit_code": SHELLS_CODE, "error": f"{argv[0]}: {error.strerror}"})
        print(f"runicorn: {argv[0]}: {error.strerror}", file=sys.stderr)
        return 126 if isinstance(error, PermissionError) else SHELLS_CODE
    record.start()
    program.wait()
    own = verdict(program.status, program.stop, kills is not None and (oom_kills() or 0) > kills)
    record.take_back()
    record.conclude(joint_verdict(own, record.told, program.pid), hurry=program.status < 0)
    if line is not None:
        line.close()
    return program.leave()


def _is_nested(options):
    """Whether this is below another `runicorn run`, whose run it all is."""
    above = link.ask({"ask": "place"})
    if above and any((options.project, options.name, options.tag, options.config, options.notes, options.root)):
        say(f"this is part of {above['project']}/{above['name']}: options of a `runicorn run` within it are not recorded")
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
    """Return the run of the program, None where there can't be one or it is another task's; `environ` (dict) says so then."""
    try:
        from runicorn.layout import legible
        from runicorn.writer.beginning import begin_program
        from runicorn.writer.program_run import ProgramRun, script_of
        name = options.name or os.path.splitext(os.path.basename(script_of(argv)))[0] or "default"
        spec = {"project": legible(options.project or "default"), "name": legible(name), "config": dict(map(_setting, options.config)),
                "tags": options.tag, "notes": options.notes}
        quiet = os.environ.get("RUNICORN_QUIET", "").lower() not in ("", "0", "false", "no")
        fixed = [key for key in ("project", "name") if getattr(options, key)]
        record = begin_program(argv, spec, fixed, options.root, quiet, options.each_task)
        if isinstance(record, ProgramRun):
            return record
        say(f"task {record.rank} of {record.size} is not recorded (task 0 is). --each-task records each as an experiment of its own.")
        environ[link.RANK] = f"{record.rank}/{record.size}"
        environ.update({variable: spec[key] for key, variable in (("project", link.PROJECT), ("name", link.NAME)) if key in fixed})
    except RunicornError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        say(f"nothing is recorded: {str(error).rstrip('.')}. Give --root, or RUNICORN_DIR, a folder that can be written")
    except Exception as error:          # a fault of ours: the program is here to run
        say(f"nothing is recorded: {type(error).__name__}: {error}")
    return None


def _setting(word):
    """Return (key, value) of "key=value": a value that is JSON (0.1, true, [1, 2]) is that, any other is text."""
    key, equals, text = word.partition("=")
    if not (key and equals):
        raise UsageError(f"--config {word!r} is no setting; write it as lr=0.1")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text


def _become(argv, environ):
    """Be the program: nothing of ours is left."""
    import signal
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIG_DFL)
    os.execvpe(argv[0], argv, environ)


def _fill_standard_streams():
    """Where a standard stream is closed, open nothing under its number: what we open would be taken for it."""
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
