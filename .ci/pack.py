#!/usr/bin/env python3
"""Make what travels without a registry: `pack.py pyz|copy|server-copy`, into dist/. Reads the tree, asks no
network.

    copy         a folder with the pages and bottle inside: Python 3.9 and nothing else (connections use the
                 system's ssh)
    pyz          the same as one file
    server-copy  the writer and the manifest alone: Python 3.8 and nothing else

The code of pyz and server-copy is without comments, and without docstrings but those that
`help(runicorn.init)` and the like show; that of server-copy is indented by one space a level, has none behind
commas, and imports from its own package as `from .x`. Every statement stands on the line where it is in the
tree, so tracebacks stay true.
"""

import ast
import gzip
import io
import re
import shutil
import sys
import tarfile
import tempfile
import tokenize
import zipapp
import zipfile
from importlib import metadata
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
KINDS = tuple(f"metrics.kinds.{name}"
              for name in ("wandb", "tensorboard", "csv_table", "trainer", "jsonl", "text_log"))
# With all they import
SERVER = ("__init__", "__main__", "cli.main", "manifest", "cli.tail", "cli.run", "wandb.aliases", *KINDS)
# For scripts that read runs, readers of an index, Windows.
READERS = {"reader.scripts", "manifest_entry", "writer.windows", "local_disk", "schtasks"}

PYZ_MAIN = """\
import sys

if sys.version_info < (3, 8):
    sys.exit("runicorn needs Python 3.8 or newer; this is " + ".".join(map(str, sys.version_info[:3])))

from runicorn.cli.main import entry

entry()
"""
COPY_README = """\
Runicorn, complete, as plain files. It needs Python 3.9 or newer and nothing else.

    cd runicorn-copy
    python3 -m runicorn viewer                 # http://127.0.0.1:23300
    python3 -m runicorn config ssh add         # a server whose runs are mirrored over SSH
    python3 -m runicorn demo                   # the whole workflow on this machine

In a script elsewhere: PYTHONPATH=/path/to/runicorn-copy, then `import runicorn`.
Connections use the system's `ssh`; with paramiko installed they can also use passwords and keys by
themselves.
"""
# Of the server copy: what only some scripts need (None: all of a package) travels in a zip for each package,
# which Python imports from.
ZIPPED = {"metrics": None, "reader": None, "wandb": None, "integrations": None,
          "cli": ("tail", "tail_foreign", "dialogue", "terminal", "program_threads", "program_doubles",
                  "parser", "wandb_folder"),
          "writer": ("capture_fd", "rank_run", "restart", "joined_run", "images", "system")}
ZIP = "modules.zip"
FROM_ZIP = f"__path__.append(__file__[:-11]+'{ZIP}')"
SERVER_README = """\
Runicorn's server side. It needs Python 3.8+ and nothing else.

    export PYTHONPATH=/path/to/runicorn-server-copy
    python3 train.py
    python3 -m runicorn run -- bash job.sh  # any program as a run
    python3 -m runicorn manifest --verbose  # makes the first mirroring fast
    python3 -m runicorn tail RUN_ID

Runs lie below ~/.runicorn/experiments, or where RUNICORN_DIR points.
To watch them, on your laptop: runicorn config ssh add
"""


def main(argv):
    makers = {"pyz": make_pyz, "copy": make_copy, "server-copy": make_server_copy}
    if len(argv) != 1 or argv[0] not in makers:
        print(__doc__, file=sys.stderr)
        return 2
    dist = TREE / "dist"
    dist.mkdir(exist_ok=True)
    for made in makers[argv[0]](dist):
        print(f"{made.relative_to(TREE)}  {weight(made) / 1000:.0f} kB")
    return 0


def make_copy(dist):
    folder = fresh(dist / "runicorn-copy")
    put_package(folder, everything())
    put_pages(folder / "runicorn" / "static")
    put_bottle(folder)
    (folder / "README").write_text(COPY_README, encoding="utf-8")
    return [folder, packed(folder)]


def make_server_copy(dist):
    folder = fresh(dist / "runicorn-server-copy")
    put_package(folder, reached(SERVER))
    for path in folder.rglob("*.py"):
        shown = public() - {"runs", "open_run"}         # what reads runs is not in it
        text = narrow(lean(path.read_text(encoding="utf-8"), shown))
        path.write_text(near(text, f"runicorn.{path.parent.name}"), encoding="utf-8")
    for package, modules in ZIPPED.items():
        put_in_zip(folder / "runicorn" / package, modules)
    (folder / "README").write_text(SERVER_README, encoding="utf-8")
    return [folder, packed(folder)]


def make_pyz(dist):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        put_package(folder, everything())
        put_pages(folder / "runicorn" / "static")
        put_bottle(folder)
        # a third of its weight; the other artefacts keep theirs, for people to read
        for path in folder.rglob("*.py"):
            path.write_text(lean(path.read_text(encoding="utf-8"), public()), encoding="utf-8")
        (folder / "__main__.py").write_text(PYZ_MAIN, encoding="utf-8")
        zipapp.create_archive(folder, dist / "runicorn.pyz", interpreter="/usr/bin/env python3",
                              compressed=True)
    return [dist / "runicorn.pyz"]


def reached(names):
    """Return the modules of ours that `names` import, themselves included; what a script
    reads runs with is left out."""
    todo, found = list(names), set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        todo += imported(ast.parse(source(name).read_text(encoding="utf-8"))) - READERS
    packages = {name.rpartition(".")[0] for name in found} - {""}
    return sorted(found | {f"{package}.__init__" for package in packages})


def everything():
    """Return the names of all modules, `writer.run` for runicorn/writer/run.py."""
    package = TREE / "runicorn"
    return [".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")]


def source(name):
    return TREE.joinpath("runicorn", *name.split(".")).with_suffix(".py")


def imported(tree):
    """Return the modules of ours that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "runicorn" + (f".{node.module}" if node.module else "") if node.level else node.module
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    ours = {name.partition(".")[2] for name in names if name.startswith("runicorn.")}
    return {name for name in ours if source(name).is_file()}


def put_package(folder, names):
    package = folder / "runicorn"
    for name in {*names, *(name for name in everything() if name.startswith(("integrations.", "wandb.")))}:
        target = package.joinpath(*name.split(".")).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source(name), target)
    shutil.copy(TREE / "LICENSE", folder)


def put_in_zip(package, modules):
    """Move modules (names, None: all) of a package (Path) into a zip beside its __init__, whose first line,
    empty without its docstring, has Python look there."""
    first = package / "__init__.py"
    lines = first.read_text(encoding="utf-8").split("\n")
    if lines[0] not in ("", '""'):
        sys.exit(f"{first} does not begin with a docstring")
    lines[0] = FROM_ZIP
    first.write_text("\n".join(lines), encoding="utf-8")
    with zipfile.ZipFile(package / ZIP, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(package.rglob("*.py")):
            if path != first and (modules is None or path.stem in modules):
                name = zipfile.ZipInfo(path.relative_to(package).as_posix(), (2020, 1, 1, 0, 0, 0))
                archive.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
                path.unlink()
    for path in sorted(package.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def put_pages(folder):
    if not (TREE / "static" / "uplot" / "uPlot.iife.min.js").is_file():
        sys.exit("static/uplot is missing: run `make` once where there is a network")
    shutil.copytree(TREE / "static", folder, ignore=shutil.ignore_patterns("__pycache__"))


def put_bottle(folder):
    import bottle
    shutil.copy(bottle.__file__, folder / "bottle.py")
    licence = next(file for file in metadata.files("bottle") if file.name.startswith("LICENSE"))
    shutil.copy(licence.locate(), folder / "LICENSE.bottle")


def public():
    """Return the names (set of str) that a script gets from the package."""
    for node in ast.parse((TREE / "runicorn" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return set(ast.literal_eval(node.value))
    raise LookupError("runicorn/__init__.py has no __all__")


def lean(source, shown):
    """Return Python source without comments and docstrings, every line where it was, so that tracebacks stay
    true.

    shown: names (set of str) of functions and classes at its top, and of methods of these classes, that keep
    their docstrings; properties of these classes do, too.
    """
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    tree = ast.parse(source)
    kept = [node for node in tree.body if getattr(node, "name", None) in shown]
    kept += [method for node in kept for method in node.body
             if getattr(method, "name", "") in shown or getattr(method, "decorator_list", ())]
    for node in ast.walk(tree):
        if (isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
                and ast.get_docstring(node, clean=False) is not None and node not in kept):
            text = node.body[0]
            before = lines[text.lineno - 1].encode()[:text.col_offset].decode()             # ast counts bytes
            after = lines[text.end_lineno - 1].encode()[text.end_col_offset:].decode()
            empty = "" if node.body[1:] and not (before + after).strip() else before + '""'
            lines[text.lineno - 1:text.end_lineno] = (
                [empty + after] + ["\n"] * (text.end_lineno - text.lineno))
    return "".join(lines)


def narrow(source):
    """Return Python source indented by one space a level instead of four, by one where a statement goes on,
    without those around operators and brackets and between a keyword and a text. The lines within texts are
    as they were, those of docstrings as `inspect.getdoc` shows them."""
    lines, within, docs, begun, before = source.splitlines(keepends=True), set(), {}, [], ""
    # the rows where statements begin; row: (first, last) columns of operators
    firsts, is_first, marks = set(), True, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("FSTRING_START", "TSTRING_START"):      # one token a part, from Python 3.12 on
            begun.append(token.start[0])
        elif kind == "STRING" and before == "INDENT":       # it begins a function or a class
            docs.update((row, token.start[1]) for row in range(token.start[0] + 1, token.end[0] + 1))
        elif kind == "STRING" or kind in ("FSTRING_END", "TSTRING_END"):
            within.update(range((begun.pop() if kind != "STRING" else token.start[0]) + 1, token.end[0] + 1))
        elif kind == "OP" and token.string not in (".", "...") and not begun:
            marks.setdefault(token.end[0], []).append((token.start[1], token.end[1]))
        # a keyword
        if ((before, kind) == ("STRING", "NAME")
                or before == "NAME" and kind == "STRING" and token.string[0] in "'\""):
            marks.setdefault(token.start[0], []).append((token.start[1], token.start[1]))
        before = "STRING" if kind == "FSTRING_END" else kind
        if kind == "NEWLINE":
            is_first = True
        elif is_first and kind not in ("NL", "COMMENT", "INDENT", "DEDENT"):
            firsts.add(token.start[0])
            is_first = False
    for row, line in enumerate(lines, 1):
        for first, last in reversed(marks.get(row, ())):
            line = (line[:first].rstrip(" ") or line[:first]) + line[first:last] + line[last:].lstrip(" ")
        text = line.lstrip(" ")
        indent = docs.get(row, len(line) - len(text))
        lines[row - 1] = line
        if row not in within and text.strip():
            lines[row - 1] = (" " * (indent // 4 if row in firsts or row in docs else min(indent, 1))
                              + line[indent:])
    return "".join(lines)


def near(source, package):
    """Return Python source that imports from its own package as from a neighbour: `from .x import y`."""
    return re.sub(rf"(?m)^( *from ){re.escape(package)}(?=[ .])\.?", r"\1.", source)


def packed(folder):
    """Write folder.tar.gz beside `folder`, the same bytes for the same files; returns its path."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.add(folder, folder.name, filter=anonymous)
    target = folder.parent / f"{folder.name}.tar.gz"
    target.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    return target


def anonymous(member):
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def weight(path):
    """Return the bytes of a file, or of all files below a folder."""
    return (path.stat().st_size if path.is_file()
            else sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
