// Saved views of the run list: the address's query under a name, kept among the preferences.

import {query, queryText} from "../shared/address.js";
import {announce, h} from "../shared/dom.js";
import {state} from "../shared/store.js";
import {prefer} from "../shared/topbar.js";
import {popover} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const LONGEST = 80;              // characters of a name

/** [{name, query}], oldest first. */
export function savedViews() {
  return state.settings?.preferences?.views || [];
}

export function forgetView(view) {
  prefer({views: savedViews().filter((other) => other.name !== view.name)});
}

function keep(name) {
  const {ticked, ...rest} = query();
  prefer({views: [...savedViews().filter((view) => view.name !== name), {name, query: queryText(rest)}]});
}

/** Ask at `anchor` for a name and keep the present view under it; saved() is called afterwards. */
export function saveView(anchor, saved) {
  const {filter, project} = query();
  const label = t("runs.viewName");
  const field = h("input.inp",
    {placeholder: label, "aria-label": label, maxlength: LONGEST, value: filter || project || "",
      autofocus: true});
  let close = () => null;
  const save = (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (name) {
      keep(name);
      close();
      announce(t("runs.viewSaved"));
      saved();
    }
  };
  const form = h("form.editor", {onsubmit: save}, h("span.tiny.m3", {}, t("runs.saveViewHow")), field,
    h("div.rowf.end", {}, h("button.btn.pri", {type: "submit"}, t("common.save"))));
  close = popover(anchor, form, {right: true, label: t("runs.saveView")});
}
