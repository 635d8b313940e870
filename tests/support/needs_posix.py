"""Which tests need POSIX: those that reach, over their helpers and fixtures, what Windows has not. Read from
the sources; imports none.

They get the mark `posix` when they are collected, beside those that say so themselves (`@pytest.mark.posix`),
for what can't be seen here.
"""

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MODULES = {"pty", "termios", "tty", "fcntl", "resource", "pwd", "grp", "curses"}
CALLS = set("""
    fork forkpty openpty kill killpg mkfifo mknod getuid geteuid getgid setuid seteuid setsid getpgid setpgid
    chown chroot symlink symlink_to readlink chmod fchmod umask statvfs wait4 waitpid WNOHANG WIFSIGNALED
    sched_getaffinity O_PATH posix_spawn register_at_fork setrlimit pthread_kill pthread_sigmask sigwait
    setitimer alarm AF_UNIX AF_NETLINK preexec_fn start_new_session pass_fds""".split())
SIGNALS = re.compile(r"SIG(KILL|STOP|CONT|TSTP|USR[12]|HUP|QUIT|ALRM|PIPE|CHLD|XCPU|XFSZ|WINCH|TTOU|TTIN)\Z")
PROGRAMS = set("""
    sh bash zsh env setpriv unshare strace prlimit ssh sshd ssh-agent ssh-add ssh-keygen sftp mount umount
    nohup timeout cat kill script taskset ip fallocate head tail make""".split())
PATHS = re.compile(r"/(proc|dev|bin|etc|usr|sys|tmp)(/|\Z)")
CODE = re.compile(rf"\bos\.({'|'.join(sorted(CALLS))})\b|\bsignal\.({SIGNALS.pattern[:-2]}|alarm|setitimer)|"
                  rf"\bimport ({'|'.join(sorted(MODULES))})\b|/(proc|dev)/")
# helpers that are servers and shells of POSIX as a whole
OWN = {"sshd", "pam", "slurm", "servers", "line"}


def mark(items):
    """Put the mark `posix` on those of `items` (list of pytest.Item) that need it."""
    for item in items:
        if (TESTS in item.path.parents
            and (loads(item.path.stem) or needs(item.path.stem, getattr(item, "originalname", item.name)))):
            item.add_marker("posix")


def needs(module, name):
    """Whether the test or helper `name` of a module below tests/ (str, without ".py") needs POSIX."""
    seen, waiting = set(), [(module, name)]
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            shows, used = _facts(*place)
            if shows:
                return True
            waiting += used
    return False


@functools.lru_cache(None)
def loads(module):
    """Whether a module below tests/ can't even be imported elsewhere: it, or a helper it imports, imports
    what is POSIX's, or calls it."""
    names = {name for node in _tree(module).body for name in _imported_by(node)}
    return (bool(names & MODULES) or any(loads(name) for name in names if _is_ours(name) and name != module)
            or any(
                isinstance(part, ast.Attribute) and (part.attr in CALLS or SIGNALS.match(part.attr))
                for node in _tree(module).body for top in _at_once(node) for part in ast.walk(top)))


def _imported_by(node):
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {node.module} if isinstance(node, ast.ImportFrom) and node.level == 0 else set()


def _at_once(node):
    """Return the parts of a statement at a module's top that run when it is imported."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.decorator_list
    return [] if isinstance(node, (ast.Import, ast.ImportFrom)) else [node]


@functools.lru_cache(None)
def _facts(module, name):
    """Return (whether it shows by itself that `name` of a module needs POSIX, [(module, name)] of what it
    uses)."""
    node = _nodes(module).get(name)
    if node is None:
        origin = _imported(module).get(name, ("", None))
        if _is_ours(origin[0]):
            return origin[0] in OWN or loads(origin[0]), [origin] if origin[1] else []
        return origin[0].partition(".")[0] in MODULES, []
    used = [(module, other) if other in _nodes(module) or other in _imported(module) else ("conftest", other)
            for other in _names(node)
            if other in _nodes(module) or other in _imported(module) or other in _nodes("conftest")]
    return _shows_posix(node), [*used, *_members(module, node)]


def _shows_posix(node):
    """Whether a piece of source itself has what is POSIX's in it."""
    return any(isinstance(part, ast.Attribute) and (part.attr in CALLS or SIGNALS.match(part.attr))
               or isinstance(part, ast.keyword) and part.arg in CALLS
               or isinstance(part, (ast.Import, ast.ImportFrom)) and _imports_posix(part)
               or isinstance(part, ast.Constant) and isinstance(part.value, str)
               and (part.value in PROGRAMS or PATHS.match(part.value) or CODE.search(part.value))
               for part in ast.walk(node))


def _imports_posix(node):
    return (bool({alias.name for alias in node.names} & MODULES) if isinstance(node, ast.Import)
            else node.module in MODULES)


def _names(node):
    """Return the names that a piece of source uses: those it reads, its fixtures (arguments, usefixtures)."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    names |= {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    return names | {part.value for decorator in getattr(node, "decorator_list", ())
                    for part in ast.walk(decorator)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def _members(module, node):
    """Return {(helper, name)} of what a piece of source uses as `helper.name`."""
    imported = _imported(module)
    return {(imported[part.value.id][0], part.attr) for part in ast.walk(node)
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
            and imported.get(part.value.id, ("", ""))[1] is None
            and _is_ours(imported[part.value.id][0])}


@functools.lru_cache(None)
def _places():
    """Return {module: its path} of all below tests/; no two have the same name."""
    return {path.stem: path for path in TESTS.rglob("*.py")}


@functools.lru_cache(None)
def _tree(module):
    return ast.parse(_places()[module].read_text(encoding="utf-8"))


@functools.lru_cache(None)
def _nodes(module):
    """Return {name: its node} of what a module defines at its top."""
    nodes = {}
    for node in _tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            nodes[node.name] = node
        for target in getattr(node, "targets", ()):
            nodes.update((part.id, node) for part in ast.walk(target) if isinstance(part, ast.Name))
    return nodes


@functools.lru_cache(None)
def _imported(module):
    """Return {name: (the module it is from, its name there; None: it is that module)}."""
    found = {}
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update((alias.asname or alias.name.partition(".")[0], (alias.name, None))
                         for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.update((alias.asname or alias.name, (node.module, alias.name)) for alias in node.names)
    return found


@functools.lru_cache(None)
def _is_ours(module):
    return module in _places()
