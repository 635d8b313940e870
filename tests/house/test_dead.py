"""Nothing lies about: each export of a script is imported, by another one or by a test; each class a style
sheet names and each word of the pages is used; no module of the package is imported by nobody."""

import ast
import re
from pathlib import Path

from sources import PACKAGE, nodes

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "static"
SCRIPTS = {path: path.read_text(encoding="utf-8")
           for path in sorted(STATIC.rglob("*.js")) if path.parent.name != "uplot"}
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*"))
                  if path.suffix in (".py", ".mjs") and path != Path(__file__))
PYTHON = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
SHEETS = [path for path in sorted(STATIC.rglob("*.css")) if path.parent.name != "uplot"]
MADE = re.compile(r"^(?:k\d|c-\w+|u-\w+)$")       # by a number, by a column's name, by the chart library


def unused_exports(scripts, tests):
    """Return [(name of a script, export)] of what no other script and no test names.
    scripts: {Path: text}."""
    words, tested = {path: set(re.findall(r"\w+", text)) for path, text in scripts.items()}, set(
        re.findall(r"\w+", tests))
    found = [(path, name) for path, text in scripts.items()
             for name in re.findall(r"^export (?:async )?(?:function\*?|const|class|let) (\w+)", text,
                                    re.MULTILINE)]
    assert found
    return [(path.name, name) for path, name in found if name not in tested
            and not any(name in words[other] for other in scripts if other != path)]


def test_each_export_is_imported():
    assert unused_exports(SCRIPTS, TESTS) == []


def test_an_export_that_nobody_imports_is_seen():
    assert unused_exports({Path("a.js"): "export function one() {}\nexport const two = 2;",
                           Path("b.js"): "one()"}, "") == [("a.js", "two")]


def test_each_class_of_a_style_sheet_is_used():
    users = "\n".join([*SCRIPTS.values(), *PYTHON.values(),
                       (STATIC / "index.html").read_text(encoding="utf-8")])
    used, unused = set(re.findall(r"[\w-]+", users)), {}
    for sheet in SHEETS:
        rules = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        names = {name for name in re.findall(r"\.([a-zA-Z][\w-]*)(?=[^{}]*\{)", rules)
                 if not MADE.match(name)}
        assert names, sheet
        unused[sheet.name] = names - used
    assert unused and not any(unused.values()), unused


def test_each_module_of_the_package_is_used():
    imported = set()
    for path in PYTHON:
        package = path.relative_to(ROOT).parent.parts
        for node in nodes(path.relative_to(PACKAGE).with_suffix("").as_posix()):
            if isinstance(node, ast.ImportFrom):
                base = ".".join(filter(
                    None, [*(package[:len(package) - node.level + 1] if node.level else ()), node.module]))
                imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    texts = "\n".join(PYTHON.values()) + TESTS       # some are loaded by their names, which stand in quotes
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts)
               for path in PYTHON if path.stem not in ("__init__", "__main__")}
    left = [name for name in modules - imported if name not in texts and name.partition(".")[2] not in texts]
    assert modules
    assert [name for name in left if not re.search(rf"[\"']{name.rpartition('.')[2]}[\"']", texts)] == []
