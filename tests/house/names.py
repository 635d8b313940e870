"""Count the names bound in the package, and print how many of them are everyday words: in all, by word and by
module. It prints, it does not judge.

    python tests/house/names.py [FOLDER]
"""

import ast
import collections
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "runicorn"
EVERYDAY = set("""found known kept held told here there one given made left first now place at taken said seen
    done gone asked wanted other rest both thing things many some whole part way what which who where when it
    that this they""".split())


def bound(tree):
    """Yield every name that a tree binds: targets of assignments, loops, `with` and `as`, and arguments,
    without leading underscores."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            name = node.name
        elif isinstance(node, (ast.alias)) and node.asname:
            name = node.asname
        else:
            continue
        if name not in ("self", "cls"):
            yield name.lstrip("_")


def main(folder=PACKAGE):
    words, modules, total = collections.Counter(), {}, 0
    for path in sorted(Path(folder).rglob("*.py")):
        names = list(bound(ast.parse(path.read_text(encoding="utf-8"))))
        everyday = collections.Counter(name for name in names if name in EVERYDAY)
        modules[path.relative_to(folder).as_posix()] = (sum(everyday.values()), len(names))
        words += everyday
        total += len(names)
    for name, (count, names) in sorted(modules.items(), key=lambda item: -item[1][0]):
        if count:
            print(f"{count:5} of {names:5}  {100 * count / names:5.1f} %  {name}")
    print("  ".join(f"{word} {count}" for word, count in words.most_common()))
    print(f"{sum(words.values())} of {total} names bound: {100 * sum(words.values()) / total:.1f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
