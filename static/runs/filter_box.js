// The filter box: types into the address, shows where a filter is wrong.

import {fill, h, icon} from "../shared/dom.js";
import {t} from "../shared/words.js";

const PAUSE = 160;               // ms after the last key before the list is asked

/**
 * {node, set(text), begin(text), fail({message, at}) , clear(), focus()}. wanted(text) is called when the
 * reader paused or pressed Enter.
 */
export function filterBox(value, wanted) {
  let timer = 0;
  const problem = h("div.fault", {role: "alert", hidden: true});
  const input = h("input.inp",
    {type: "search", value, placeholder: t("runs.filterHint"), "aria-label": t("runs.filter"),
      spellcheck: "false", autocomplete: "off", maxlength: 1000});
  const send = () => {
    clearTimeout(timer);
    wanted(input.value.trim());
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      send();
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (input.value) {
        input.value = "";
        send();
      } else {
        input.blur();
      }
    }
  });
  const clear = () => {
    problem.hidden = true;
    input.removeAttribute("aria-invalid");
  };
  return {
    node: h("label.find.grow", {}, icon("find"), input, h("kbd.kbd", {"aria-hidden": "true"}, "/"), problem),
    focus: () => { input.focus(); input.select(); },
    set: (text) => document.activeElement !== input && (input.value = text),
    begin(text) {                // the reader ends it
      input.value = [input.value.trim(), text].filter(Boolean).join(" ");
      input.focus();
    },
    clear,
    fail({message, at}) {
      input.setAttribute("aria-invalid", "true");
      const text = input.value;
      const place = Math.max(0, Math.min(at ?? text.length, text.length));
      fill(problem, h("div", {}, message),
        h("code", {}, text.slice(0, place), h("mark", {}, text.slice(place, place + 1) || " "),
          text.slice(place + 1)));
      problem.hidden = false;
    },
  };
}
