"""Rules of one's own on the settings page: tried on a log of the root while they are written, set, and the
list reads by them."""

import json

import pytest
from playwright.sync_api import expect

from runicorn import rule_book

pytest_plugins = ["chromium"]
LOG = "".join(f"Aktualisierung {n} | Verlust {1 / n:.4f} | Güte {n / 40:.3f}\nplaudern\n"
              for n in range(1, 41))
ROWS = "".join(json.dumps({"update": 5 * n, "ret": {"mean": n / 2}, "fps": 900}) + "\n" for n in range(20))
PATTERN = r"Aktualisierung (?P<step>\d+) .* Verlust (?P<verlust>\S+) .* Güte (?P<guete>\S+)"


@pytest.fixture
def home(tmp_path):
    """The viewer's home, whose root holds logs that nothing but a rule reads."""
    root = tmp_path / "viewer" / "experiments"
    for path, text in {"deutsch/a/lauf.log": LOG, "rl/b/train.jsonl": ROWS,
                       "deutsch/notes.txt": "hallo\n"}.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return tmp_path / "viewer"


@pytest.mark.few(1)
@pytest.mark.parametrize(("locale", "fit", "add", "saved"), [
    ("en-US", "40 of 80 lines fit", "Add this rule", "Saved"),
    ("zh-CN", "80 行中有 40 行符合", "添加此规则", "已保存")])
def test_a_pattern_is_tried_on_a_log_and_set(serve, open_page, home, locale, fit, add, saved):
    url = serve().url
    page = open_page(f"{url}/settings?tab=rules", locale=locale)
    expect(page.locator("#r-logs option")).to_have_count(2)
    page.locator("#r-try").fill("deutsch/a/lauf.log")
    page.locator("#r-pattern").fill("(?P<x>")
    expect(page.get_by_role("alert")).to_contain_text("(?P<x>")
    page.locator("#r-pattern").fill(PATTERN)
    expect(page.locator(".verdict")).to_contain_text(fit)
    expect(page.locator(".minis figcaption .mono")).to_have_text(["verlust", "guete"])
    assert page.locator(".tried .fits").count() == 30
    assert page.locator(".tried .fits").first.locator("mark").count() == 3
    assert page.locator(".mini path").first.get_attribute("d").count("L") == 39
    page.get_by_role("button", name=add).click()
    expect(page.locator(".verdict")).to_contain_text(saved)
    assert [rule["pattern"] for rule in rule_book.kept(home, folder=home / "experiments")] == [PATTERN]
    page.goto(f"{url}/")
    row = page.locator("tr[data-key]")
    expect(row).to_have_count(1, timeout=20_000)
    expect(row).to_contain_text("0.0250")
    page.goto(f"{url}/settings?tab=rules")
    page.locator(".rules button").click()
    page.goto(f"{url}/")
    expect(row).to_have_count(0, timeout=20_000)


@pytest.mark.long
def test_names_for_lines_of_json_and_a_rule_that_runs_away(serve, open_page, home):
    page = open_page(f"{serve().url}/settings?tab=rules&file=rl/b/train.jsonl")
    page.get_by_role("radio",
                     name="lines of JSON").or_(page.get_by_role("button", name="lines of JSON")).click()
    page.locator("#r-step").fill("update")
    expect(page.locator(".verdict")).to_contain_text("fill in Files")
    page.locator("#r-files").fill("train.jsonl")
    page.locator("#r-metrics").fill("ret/*")
    expect(page.locator(".verdict")).to_contain_text("20 of 20 lines fit")
    expect(page.locator(".minis figcaption .mono")).to_have_text(["ret/mean"])
    (home / "experiments/deutsch/a/lauf.log").write_text(LOG + "a" * 90 + "!\n")
    page.get_by_role("radio", name="text logs").or_(page.get_by_role("button", name="text logs")).click()
    page.locator("#r-try").fill("deutsch/a/lauf.log")
    page.locator("#r-files").fill("")
    page.locator("#r-pattern").fill("(?P<x>(?:a|aa)+)$")
    expect(page.locator(".verdict")).to_contain_text("takes too long", timeout=15_000)
    assert page.locator("#r-add").is_disabled()
