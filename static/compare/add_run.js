// The box that finds one more run to compare.

import * as api from "../shared/api.js";
import {fill, h, own} from "../shared/dom.js";
import {tails} from "../shared/run_names.js";
import {ending, middle, popover, runState} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const OFFERED = 60;

/** Open it at `anchor`; runs with a key in `taken` are left out; picked(key) is called once. */
export function chooseRun(anchor, taken, picked) {
  const list = h("ul");
  let close = () => null;
  let turn = 0;
  const entry = (run, ends) => h("li", {},
    h("button.item", {type: "button", onclick: () => { close(); picked(run.key); }},
      runState(run.state), h("span.grow", {title: run.name}, middle(run.name, 13, ends.get(run.name))),
      own(run.project, {class: "m3 cut"})));
  const look = async () => {
    const mine = ++turn;
    // Half a filter is refused and finds nothing.
    const {runs} = await api.get("/api/runs",
      {filter: field.value, typed: 1, limit: OFFERED, sort: "-started"}).catch(() => ({runs: []}));
    if (mine === turn) {
      const others = runs.filter(({key}) => !taken.includes(key));
      const ends = tails(others.map(({name}) => name), ending);
      fill(list, others.length ? others.map((run) => entry(run, ends))
        : h("li.m2", {}, t("compare.noOthers")));
    }
  };
  const field = h("input.inp",
    {placeholder: t("compare.addHint"), "aria-label": t("compare.addHint"), oninput: look,
      spellcheck: "false"});
  close = popover(anchor, h("div.adder", {}, field, list), {label: t("compare.add")});
  look();
}
