"""What the server says is translated on the pages: each sentence that carries a code has its words, made of
the values it brings."""

import ast
import json
import re
from pathlib import Path

import pytest

from runicorn import settings
from runicorn.errors import UsageError
from runicorn.viewer import exchange

HERE = Path(__file__).parents[2]
WORDS_ZH = (HERE / "static" / "shared" / "words-zh.js").read_text(encoding="utf-8")
WORDS = (HERE / "static" / "shared" / "words-en.js").read_text(encoding="utf-8")
# A sentence the pages show in another way: the changed key with both fingerprints, a command that is not run
# by a test.
ELSEWHERE = {"exec", "usage", "filter", "not_found", "missing"}


def sentences():
    """Yield (file:line, [names of a sentence], {names of its values}) of every error with a code and line of
    the test."""
    for path in sorted((HERE / "runicorn").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(text)) if "coded" in text or "said" in text else ():
            if isinstance(call, ast.Call):
                values = {word.arg: word.value for word in call.keywords if word.arg}
                code = values.get("code") if getattr(call.func, "id", "").endswith("Error") else None
                wanted = values.get("said") or code
                if wanted is not None:
                    yield f"{path.name}:{call.lineno}", [one.value for one in ast.walk(wanted)
                                                         if isinstance(one, ast.Constant)
                                                         and isinstance(one.value, str)], set(values) - {
                                                             "code"}


SENTENCES = [(where, name, values) for where, names, values in sentences()
             for name in names if name and name not in ELSEWHERE]


def words(key):
    found = re.search(rf'"{re.escape(key)}": ((?:"(?:[^"\\]|\\.)*"[\s+]*)+)', WORDS)
    return found and "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))


def test_there_are_many():
    assert len(SENTENCES) > 60


@pytest.mark.parametrize(("where", "name", "values"), SENTENCES,
                         ids=[f"{where} {name}" for where, name, _ in SENTENCES])
def test_a_sentence_has_its_words(where, name, values):
    text = words(f"said.{name}")
    assert text, f"{where}: words-en.js has no said.{name}"
    advice = words(f"advice.{name}") or ""
    holes = set(re.findall(r"\{(\w+)[|}]", text + advice))
    assert holes <= values | {
        "detail"} if name == "failed" else holes <= values, f"{where}: said.{name} wants {holes - values}"


WRONG = {"host_missing": {"host": ""}, "field_unsafe": {"host": "gpu;id"}, "host_odd": {"host": "a/b"},
         "host_password": {"host": "alice:secret@gpu"}, "host_path": {"host": "ssh://gpu/data"},
         "host_twice": {"host": "bob@gpu", "user": "alice"}, "field_choice": {"host": "gpu", "auth": "magic"},
         "field_text": {"host": "gpu", "name": "a\nb"}, "field_whole": {"host": "gpu", "port": 99999}}


@pytest.mark.parametrize("said", WRONG)
def test_a_connection_that_cannot_be_saved_is_told_in_both_languages(said):
    with pytest.raises(UsageError) as refused:
        settings.checked(WRONG[said])
    answer = json.loads(exchange.to_error(refused.value).body)
    assert (answer["error"], answer["values"]["said"]) == ("usage", said)
    chinese = re.search(rf'"said\.{said}": "([^"]*)"', WORDS_ZH)[1]
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert set(re.findall(r"\{(\w+)\}", chinese)) <= set(answer["values"])
