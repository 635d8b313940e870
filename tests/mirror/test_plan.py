"""The plan as a pure function: carrying it out turns any "here" into "there", and nothing is fetched
twice."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runicorn import local_names
from runicorn.mirror import plan

NAMES = ["meta.json", "status.json", "events.jsonl", "events.2.jsonl", "logs.txt", "system.rank3.jsonl",
         "media/a.png", "last.pt"]
contents = st.binary(max_size=12).map(lambda raw: raw * 700)  # below and beyond the 4 KiB a tail covers
runs = st.dictionaries(st.sampled_from(NAMES), st.tuples(contents, st.integers(0, 5)))


def shown(run, tails=True):
    """Return a run's {name: (content, mtime)} as a listing shows it."""
    return {
        name: {"size": len(content), "mtime": mtime,
               "tail": sha256(content[-4096:]).hexdigest() if tails else None}
        for name, (content, mtime) in run.items()
    }


def carry_out(fetches, here, there):
    """Do what the fetches say, as the mirror does: where a seam does not fit, fetch whole."""
    for fetch in fetches:
        content, mtime = there[fetch.name]
        held = here.get(fetch.name, (b"", 0))[0]
        if fetch.whole or content[: fetch.offset] != held:
            here[fetch.name] = content, mtime
        else:
            assert fetch.offset == len(held) and fetch.size == len(content) and plan.is_appended(fetch.name)
            here[fetch.name] = held + content[fetch.offset :], mtime


@given(runs, runs, st.booleans())
def test_carrying_out_the_plan_turns_here_into_there(before, there, tails):
    here = dict(before)
    carry_out(plan.diff("p", shown(here, tails), shown(there)), here, there)
    for name, (content, mtime) in there.items():
        old, when = before.get(name, (None, None))
        hidden = (old is not None and len(old) == len(content)
                  and (old[-4096:] == content[-4096:] if tails else when == mtime))
        assert here[name][
            0] == content or hidden, "only what neither size nor tail nor mtime shows may differ"
    assert set(before) <= set(here), "what vanished there stays here"
    assert plan.diff("p", shown(here, tails), shown(there)) == []


@given(runs)
def test_nothing_is_fetched_of_what_is_here(there):
    assert plan.diff("p", shown(there), shown(there)) == []
    assert plan.diff("p", shown(there, tails=False), shown(there)) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p/n/runs/20250121_180000_abc123", "a/n/runs/20250122_180000_abc123"]),
            st.sampled_from(NAMES),
            st.integers(0, 9),
        ),
        unique=True,
    )
)
def test_small_json_comes_first_then_the_newest_run(files):
    fetches = sorted((plan.Fetch(path, name, 0, size, 0, None, True) for path, name, size in files),
                     key=plan.order, reverse=True)
    kinds = [2 if fetch.name in ("meta.json", "status.json") else 1 if plan.is_appended(fetch.name) else 0
             for fetch in fetches]
    assert kinds == sorted(kinds, reverse=True)
    for kind in (0, 1, 2):
        ids = [fetch.path.rsplit("/", 1)[1] for fetch, its in zip(fetches, kinds) if its == kind]
        assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "path, fine",
    [
        ("p/n/runs/i", True),
        ("模型/n/runs/i", True),
        ("../n/runs/i", False),
        ("/etc/n/runs/i", False),
        ("p/n/runs/..", False),
        ("p/n/runs", False),
        ("p/n/runs/i/j", False),
        ("p//runs/i", False),
        ("p/n/other/i", False),
        (".runicorn/n/runs/i", False),
        ("p/n/runs/\0", False),
        ("p/n/runs/\ud800", False),
    ],
)
def test_only_run_paths_are_believed(path, fine):
    assert plan.believable(path) is fine


@pytest.mark.parametrize(
    "name, fine",
    [
        ("a.pt", True),
        ("deep/er/a.pt", True),
        ("../a", False),
        ("/a", False),
        ("a/../../b", False),
        ("a//b", False),
        ("", False),
        ("a\0b", False),
        ("/".join("a" * 40), False),
    ],
)
def test_only_plain_relative_names_are_believed(name, fine):
    assert plan.believable("p/n/runs/i", name) is fine


@given(st.text(max_size=40))
def test_no_text_is_believed_that_leads_outside(name):
    if plan.believable("p/n/runs/i", name):
        assert not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def test_a_file_is_settled_when_seen_two_seconds_or_older_than_any_clock_is_wrong():
    assert not plan.settled(1000, observed=1000, now=1001)
    assert plan.settled(1000, observed=1000, now=1002)
    assert plan.settled(1000, observed=200_000, now=200_000)
    assert not plan.settled(999_999, observed=200_000, now=200_001), "a clock that is ahead"


def test_windows_count_from_the_newest_sign():
    entry = {"mtime": 1000.0, "beat": None,
             "files": {"events.jsonl": {"size": 1, "mtime": 500_000, "tail": None}}}
    assert plan.within(entry, "24h", 500_000 + 86_000) and not plan.within(entry, "24h", 500_000 + 87_000)
    assert plan.within(entry, "7d", 500_000 + 87_000) and plan.within(entry, None, 1e12)


@pytest.mark.parametrize(
    "names, moved",
    [
        (["a.pt", "b.pt", "media/a.pt"], []),
        (["a.pt", "A.PT", "b"], ["a.pt"]),
        (["straße", "STRASSE"], ["straße"]),
        (["caf\u00e9", "cafe\u0301"], ["caf\u00e9"]),
        (["events.jsonl", "EVENTS.jsonl"], ["EVENTS.jsonl"]),  # a run's own file keeps its name
        (["Media/x/a", "media/x/a", "MEDIA/x/b"], ["Media/x/a", "media/x/a"]),
    ],
)
def test_names_a_disk_would_mix_up_get_places_apart(names, moved):
    local = plan.apart(names)
    assert sorted(local) == sorted(moved)
    places = [local_names.folded(local.get(name, name)) for name in names]
    assert len(set(places)) == len(names)
    assert all("/".join(map(local_names.unslug, local[name].split("/"))) == name for name in local)


@given(st.lists(st.text("aAbBß/~%é\u0301", min_size=1, max_size=6), unique=True, max_size=8))
def test_places_apart_are_apart_whatever_the_names(names):
    names = [name for name in names if plan.believable("p/n/runs/i", name)]
    if any(name.startswith(f"{other}/") for name in names for other in names):
        return  # a file and a folder of one name: no server has that
    local = plan.apart(names)
    assert all(plan.believable("p/n/runs/i", place) for place in local.values())
    places = [local_names.folded(local.get(name) or "/".join(map(local_names.local_name, name.split("/"))))
              for name in names]
    assert len(set(places)) == len(names)
