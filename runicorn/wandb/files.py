"""Files that a script saves: copied into the run's folder. What lies there already stays."""

import glob as globbing
import os

from runicorn.wandb.copies import copier, copy
from runicorn.writer.notice import say
from runicorn.writer.values import attempt

CODE_FILES, CODE_BYTES = 1000, 20_000_000
NOT_CODE = {".git", "__pycache__", "node_modules", "site-packages", "wandb", ".venv", "venv", "runs",
            "outputs"}


def save(run, pattern=None, base_path=None, policy="live", glob=True):
    """Copy the files that `pattern` (a path or a pattern) names into run.dir, keeping what follows base_path
    of their paths; again at the end, unless policy is "now". Returns the copies' paths (list of str); large
    ones are there a little later, see `copies`."""
    if pattern is None:
        return True
    pattern = os.fspath(pattern)
    paths = [path for path in (globbing.glob(pattern, recursive=True) if glob else [pattern])
             if os.path.isfile(path)]
    if not paths:
        say(f"wandb.save({pattern!r}) names no file", once=("save", pattern))
    base = os.path.abspath(base_path or os.path.dirname(pattern.split("*")[0]) or ".")
    copies = []
    for path in paths:
        below = os.path.relpath(os.path.abspath(path), base)
        target = os.path.join(run.dir, os.path.basename(path) if below.startswith("..") else below)
        copier.add(path, target)
        copies.append(target)
        if policy != "now":
            run._lives.append((path, target))
    return copies


def follow(run):
    """Copy once more what shall follow, and wait for all that is copied: the run ends."""
    for path, target in run._lives:
        attempt(copier.add, path, target)
    copier.wait_last()


def restore(run, name, run_path=None):
    """Return a file of the run, open for reading as text; None where it is not there."""
    path = os.path.join(run.dir, name)
    if not os.path.isfile(path):
        path = name
    if not os.path.isfile(path):
        say(f"wandb.restore({name!r}): there is no such file in {run.dir}"
            + (f"; {run_path} is another run" if run_path else ""))
        return None
    return open(path, encoding="utf-8", errors="replace")           # the script's to close


def log_code(run, root=".", include_fn=None, exclude_fn=None):
    """Copy the Python files below `root` into run.dir/code, up to a thousand and 20 MB."""
    root, count, size = os.path.abspath(root or "."), 0, 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names
                          if name not in NOT_CODE and os.path.join(folder, name) != run.dir)
        for name in sorted(files):
            path = os.path.join(folder, name)
            is_included = (_asked(include_fn, path, root) if include_fn
                           else name.endswith(".py") or name.startswith("requirements"))
            if not is_included or exclude_fn and _asked(exclude_fn, path, root) or not os.path.isfile(path):
                continue
            count, size = count + 1, size + os.path.getsize(path)
            if count > CODE_FILES or size > CODE_BYTES:
                say(f"log_code({root!r}): only its first {count - 1} files were copied")
                return run.dir
            copy(path, os.path.join(run.dir, "code", os.path.relpath(path, root)))
    return run.dir


def _asked(function, path, root):
    try:
        return function(path, root)
    except TypeError:                   # of older scripts: of one argument
        return function(path)


def save_script(run, path):
    """Copy the script itself into run.dir/code."""
    copy(path, os.path.join(run.dir, "code", os.path.basename(path)))
