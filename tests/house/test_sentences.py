"""What the server says is translated on the pages: each sentence that carries a code has its words, made
of the values it brings."""

import ast
import functools
import json
import re
from pathlib import Path

import pytest
from sources import nodes, paths

from runicorn import settings
from runicorn.errors import UsageError
from runicorn.viewer import exchange

HERE = Path(__file__).parents[2]
WORDS_ZH = (HERE / "static" / "shared" / "words-zh.js").read_text(encoding="utf-8")
WORDS = (HERE / "static" / "shared" / "words-en.js").read_text(encoding="utf-8")
# A sentence the pages show in another way: the changed key with both fingerprints, a command that is not run
# by a test.
ELSEWHERE = {"exec", "usage", "filter", "not_found", "missing"}


def calls():
    """Yield (file:line, [names of a sentence], {names of its values}) of every error with a
    code and line of the test."""
    for name, path in paths().items():
        for call in nodes(name):
            if isinstance(call, ast.Call):
                values = {word.arg: word.value for word in call.keywords if word.arg}
                code = values.get("code") if getattr(call.func, "id", "").endswith("Error") else None
                wanted = values.get("said") or code
                if wanted is not None:
                    texts = [node.value for node in ast.walk(wanted)
                             if isinstance(node, ast.Constant) and isinstance(node.value, str)]
                    yield f"{path.name}:{call.lineno}", texts, set(values) - {"code"}


@functools.lru_cache(None)
def sentences():
    """Return [(file:line, the sentence's name, {names of its values}), …]."""
    return [(where, name, values) for where, names, values in calls()
            for name in names if name and name not in ELSEWHERE]


def words(key):
    found = re.search(rf'"{re.escape(key)}": ((?:"(?:[^"\\]|\\.)*"[\s+]*)+)', WORDS)
    return found and "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))


def test_there_are_many():
    assert len(sentences()) > 60


def test_a_sentence_has_its_words():
    wrong = []
    for where, name, values in sentences():
        text = words(f"said.{name}")
        if not text:
            wrong.append(f"{where}: words-en.js has no said.{name}")
            continue
        holes = set(re.findall(r"\{(\w+)[|}]", text + (words(f"advice.{name}") or "")))
        if wanted := holes - values - ({"detail"} if name == "failed" else set()):
            wrong.append(f"{where}: said.{name} wants {wanted}")
    assert wrong == []


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
