"""What a page draws anew stays where it looks as before: nodes, focus, selection, open menus; listeners are
never of another thing."""

import pytest
from playwright.sync_api import expect

pytest_plugins = ["chromium"]

START = """async () => {
  const style = document.querySelector("link[rel=stylesheet]").href;
  window.dom = await import(new URL("shared/dom.js", style.slice(0, style.lastIndexOf("/styles/") + 1)).href);
  const place = document.body.appendChild(window.dom.h("main", {id: "place"}));
  Object.assign(place.style, {position: "fixed", inset: 0, zIndex: 999, background: "white"});
  window.draw = (...parts) => window.dom.renew(document.getElementById("place"), ...parts);
  window.said = [];
}"""


@pytest.fixture
def page(serve, open_page):
    """A page with draw(nodes), dom.js as `dom`, and a list `said` for listeners."""
    page = open_page(f"{serve().url}/settings")
    expect(page.locator("#top .brand")).to_be_visible()
    page.evaluate(START)
    return page


def test_what_looks_as_wanted_is_the_same_node(page):
    assert page.evaluate("""() => {
      const once = () => draw(dom.h("p", {}, "a", dom.h("b", {}, "1")), dom.h("button", {}, "go"));
      once();
      const [p, b, button] = ["p", "b", "button"].map((name) => document.querySelector(`#place ${name}`));
      once();
      draw(dom.h("p", {title: "new"}, "a", dom.h("b", {}, "2")), dom.h("button", {}, "go"));
      return [p.isConnected, b.isConnected, button.isConnected, b.textContent, p.title];
    }""") == [True, True, True, "2", "new"]


def test_a_control_that_changed_has_its_new_listener_and_the_focus(page):
    page.evaluate("""() => {
      const once = (word) => draw(dom.h("div", {}, dom.h("button", {onclick: () => said.push(word)}, word)));
      once("one");
      document.querySelector("#place button").focus();
      once("two");
    }""")
    expect(page.locator("#place button")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("said") == ["two"]


def test_another_key_is_another_thing_with_its_own_listeners(page):
    page.evaluate("""() => {
      const item = (key) => dom.h("li", {data: {key}, onclick: () => said.push(key)}, "alike");
      const once = (keys) => draw(keys.map(item));
      once(["a", "b"]);
      once(["b"]);
    }""")
    page.locator("#place li").click()
    assert page.evaluate("said") == ["b"]


@pytest.mark.long
def test_an_open_box_an_open_menu_and_a_selection_survive(page):
    assert page.evaluate("""() => {
      const once = (word) => draw(dom.h("details", {}, dom.h("summary", {}, "more"), word),
                                  dom.h("button", {}, "menu"), dom.h("p", {}, "long text"));
      once("1");
      const [details, button, p] = ["details", "button", "p"]
          .map((name) => document.querySelector(`#place ${name}`));
      details.open = true;
      button.setAttribute("aria-expanded", "true");
      getSelection().selectAllChildren(p);
      once("2");
      return [details.isConnected && details.open, details.textContent,
              button.isConnected && button.getAttribute("aria-expanded"), String(getSelection())];
    }""") == [True, "more2", "true", "long text"]


def test_what_is_left_over_goes_and_what_is_missing_comes(page):
    assert page.evaluate("""() => {
      draw("a", dom.h("i", {class: "x", hidden: true}), null, "b");
      draw([["a"], false, dom.h("i", {})], dom.h("u", {}, "c"));
      return document.getElementById("place").innerHTML;
    }""") == "a<i></i><u>c</u>"
