"""What the server says is translated on the pages: each sentence that carries a code has its words, made of the values it brings."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
WORDS = (HERE / "static" / "shared" / "words-en.js").read_text(encoding="utf-8")
# A sentence the pages show in another way: the changed key with both fingerprints, a command that is not run by a test.
ELSEWHERE = {"exec", "usage", "filter", "not_found", "missing"}


def sentences():
    """Yield (file:line, [names of a sentence], {names of its values}) of every error with a code and line of the test."""
    for path in sorted((HERE / "runicorn").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(text)) if "coded" in text or "said" in text else ():
            if isinstance(call, ast.Call):
                values = {word.arg: word.value for word in call.keywords if word.arg}
                code = values.get("code") if getattr(call.func, "id", "").endswith("Error") else None
                wanted = values.get("said") or code
                if wanted is not None:
                    yield f"{path.name}:{call.lineno}", [one.value for one in ast.walk(wanted) if isinstance(one, ast.Constant)
                                                         and isinstance(one.value, str)], set(values) - {"code"}


SENTENCES = [(where, name, values) for where, names, values in sentences() for name in names if name and name not in ELSEWHERE]


def words(key):
    found = re.search(rf'"{re.escape(key)}": ((?:"(?:[^"\\]|\\.)*"[\s+]*)+)', WORDS)
    return found and "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))


def test_there_are_many():
    assert len(SENTENCES) > 60


@pytest.mark.parametrize(("where", "name", "values"), SENTENCES, ids=[f"{where} {name}" for where, name, _ in SENTENCES])
def test_a_sentence_has_its_words(where, name, values):
    text = words(f"said.{name}")
    assert text, f"{where}: words-en.js has no said.{name}"
    advice = words(f"advice.{name}") or ""
    holes = set(re.findall(r"\{(\w+)[|}]", text + advice))
    assert holes <= values | {"detail"} if name == "failed" else holes <= values, f"{where}: said.{name} wants {holes - values}"
