"""The oldest browsers the pages run in: nothing newer in what is served, and what those browsers do otherwise
is played in Chromium."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from small_runs import write_run

pytest_plugins = ["chromium"]

STATIC = Path(__file__).resolve().parents[2] / "static"
RUN_ID = "20250123_180000_abc123"
# What came after Chrome 115, Firefox 115 or Safari 16.4. The whole list is `make browsers`'; these are the
# ones one reaches for.
NEWER = {
    "js": [r"AbortSignal\.any\b", r"\bPromise\.withResolvers\b", r"\bPromise\.try\b",
           r"\b(?:Object|Map)\.groupBy\b", r"\bArray\.fromAsync\b",
           r"\.(?:isSubsetOf|isSupersetOf|isDisjointFrom|symmetricDifference)\(", r"\.toWellFormed\(",
           r"\bstartViewTransition\b", r"\.(?:show|hide|toggle)Popover\(", r"\.checkVisibility\(",
           r"\bIterator\.from\b", r"\bRegExp\.escape\b", r"\bURL\.(?:canParse|parse)\b",
           r"\bSet\.prototype\.union\b", r"\bnavigator\.(?:locks|userAgentData)\b", r"\bscrollend\b",
           r"\bEditContext\b", r"\bScheduler\b|\bscheduler\.", r"\brequestIdleCallback\b",
           r"/[^/\n]+/[a-u]*v[a-u]*[\s;,)]"],
    "css": [r"light-dark\(", r":has\(", r"container-type", r"@container", r"@scope", r"@starting-style",
            r"@property", r"@position-try", r"anchor-name", r"text-wrap", r"field-sizing",
            r"interpolate-size", r"scrollbar-(?:color|width)", r"content-visibility",
            r"cq[whib]\b", r"overflow-clip-margin", r"\bd?vi\b(?=;)", r"from var\(", r"^\s*&",
            r"view-transition", r"animation-timeline", r"font-size-adjust", r"offset-path", r"@layer",
            r"rex\b", r"\blinear\("],
}
PAIRED = {r"(?<!-)user-select": "-webkit-user-select", r"(?<!-)backdrop-filter": "-webkit-backdrop-filter"}


def served(kind):
    """{name: text} of our own files of a kind, without comments."""
    comment = re.compile(r"/\*.*?\*/|(?m:^\s*//[^\n]*$)", re.S)
    found = {path.relative_to(STATIC).as_posix(): comment.sub("", path.read_text(encoding="utf-8"))
             for path in STATIC.rglob(f"*.{kind}")
             if path.parent.name != "uplot"}
    assert len(found) > {"js": 50, "css": 3}[kind]
    return found


@pytest.mark.parametrize("kind", NEWER)
def test_nothing_newer_than_the_floor_is_served(kind):
    found = [(name, pattern) for name, text in served(kind).items()
             for pattern in NEWER[kind] if re.search(pattern, text, re.M)]
    assert found == []


def test_what_safari_knows_by_another_name_has_both():
    sheets = served("css")
    assert sheets and [(name, prefixed) for name, text in sheets.items() for plain, prefixed in PAIRED.items()
                       if len(re.findall(plain + ":", text)) != len(re.findall(prefixed + ":", text))] == []


def test_the_patterns_find_what_they_look_for():
    newer = {"js": "x = AbortSignal.any([a]); y = Object.groupBy(z, f); r = /[a--b]/v;",
             "css": "a { color: light-dark(red, blue); } b:has(c) {}"}
    for kind, text in newer.items():
        assert sum(bool(re.search(pattern, text, re.M)) for pattern in NEWER[kind]) >= 2


@pytest.fixture
def runs(home):
    for number in range(2):
        write_run(home / "experiments", "vision", f"resnet{number}", RUN_ID[:-1] + str(number), rows=50)
    return [RUN_ID[:-1] + str(number) for number in range(2)]


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("width", [1440, 900])
@pytest.mark.parametrize("page_of", ["runs", "compare"])
def test_full_screen_is_full_though_the_scrolled_box_contains_its_layout(
        serve, open_page, runs, page_of, width):
    where = f"runs/{runs[0]}" if page_of == "runs" else f"compare?runs={','.join(runs)}"
    page = open_page(f"{serve().url}/{where}", width=width)
    page.evaluate("""() => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync('.chartscroll, .charts { contain: layout; }');        // as container-type did
        document.adoptedStyleSheets = [sheet];
    }""")
    chart = page.locator("figure.chart").first
    expect(chart.locator("canvas")).to_be_visible()
    before = chart.bounding_box()
    chart.hover()
    chart.locator(".enter").click()
    expect(page.locator(".chart.full canvas")).to_be_visible()
    assert page.locator(".chart.full").bounding_box() == {"x": 0, "y": 40, "width": width, "height": 860}
    page.wait_for_timeout(1500)                 # news come meanwhile
    assert page.locator(".chart.full").bounding_box()["width"] == width
    page.keyboard.press("Escape")
    expect(page.locator(".chart.full")).to_have_count(0)
    assert page.locator("figure.chart").first.bounding_box() == before


OLD = {
    "no color-mix": "CSS.supports = () => false;", "no findLast": "delete Array.prototype.findLast;",
    "no lookbehind":
    "const Real = RegExp; RegExp = function (p, f) { if (/\\(\\?</.test(p)) throw new SyntaxError('?<');"
                     " return new Real(p, f); };",
}


@pytest.mark.few(1)
@pytest.mark.parametrize("lacks", OLD)
def test_an_older_browser_is_told_so_in_both_languages(serve, open_page, runs, lacks):
    page = open_page(serve().url, script=OLD[lacks], quiet=("",))
    expect(page.locator("#floor")).to_contain_text("Chrome or Edge 115, Firefox 115, Safari 16.4")
    expect(page.locator("#floor [lang=zh-CN]")).to_contain_text("版本过旧")


def test_a_browser_at_the_floor_is_told_nothing_and_needs_no_abortsignal_any(serve, open_page, runs, home):
    page = open_page(serve().url, script="delete AbortSignal.any;")
    expect(page.locator("tr[data-key]")).to_have_count(2)
    assert page.locator("#floor").count() == 0
    write_run(home / "experiments", "vision", "later", "20250124_180000_abc129")
    expect(page.locator("tr[data-key]")).to_have_count(3)


@pytest.mark.long
def test_under_the_locale_c_charts_are_drawn(serve, open_page, runs):
    script = "Object.defineProperty(Navigator.prototype, 'language', {get: () => 'C', configurable: true});"
    page = open_page(f"{serve().url}/runs/{runs[0]}", script=script)
    expect(page.locator("figure.chart canvas").first).to_be_visible()


@pytest.mark.long
def test_a_plotting_library_that_does_not_run_is_not_called_missing(serve, open_page, runs):
    script = "Object.defineProperty(globalThis, 'uPlot', {get: () => undefined, set() {}});"
    page = open_page(f"{serve().url}/runs/{runs[0]}", script=script, quiet=("",))
    expect(page.locator(".noplot").first).to_contain_text("does not run in this browser")


@pytest.mark.few(1)
@pytest.mark.parametrize("theme, background", [("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 24, 28)")])
def test_the_palette_follows_the_system_and_the_readers_choice(serve, open_page, runs, theme, background):
    page = open_page(serve().url, theme=theme)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == background
    for chosen, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 24, 28)")):
        page.evaluate(f"() => {{ document.documentElement.dataset.theme = '{chosen}'; }}")
        assert page.evaluate(ground) == colour
