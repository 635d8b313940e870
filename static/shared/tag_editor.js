// Tags and note of a run, edited where they stand: Enter saves, Escape restores.

import * as api from "./api.js";
import {h} from "./dom.js";
import {popover} from "./widgets.js";
import {t} from "./words.js";

/** "a, b ,a" -> ["a", "b"]. */
export function parseTags(text) {
  return [...new Set(text.split(/[,，\n]/).map((tag) => tag.trim()).filter(Boolean))];
}

/** Open the editor at `anchor`. saved(row) is called with the row the viewer answered. */
export function editRun(anchor, row, saved, first = "tags") {
  const tags = h("input.inp",
    {value: row.tags.join(", "), placeholder: t("runs.tagsHint"), maxlength: 2000,
      autofocus: first === "tags"});
  const note = h("textarea.inp",
    {value: row.note || "", placeholder: t("runs.noteHint"), maxlength: 20000, rows: 3,
      autofocus: first === "note"});
  const problem = h("p.bad.small", {role: "alert", hidden: true});
  let close = () => null;
  const save = async () => {
    try {
      const answer = await api.patch(api.runPath(row.key),
        {tags: parseTags(tags.value), note: note.value.trim()});
      close();
      anchor.focus?.({preventScroll: true});
      saved(answer);
    } catch (error) {
      problem.textContent = t("common.failed", {message: error.message});
      problem.hidden = false;
    }
  };
  const keys = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      save();
    }
  };
  close = popover(anchor,
    h("form.editor", {onkeydown: keys, onsubmit: (event) => { event.preventDefault(); save(); }},
      h("label", {}, h("span.tiny.m3", {}, t("runs.tags")), tags),
      h("label", {}, h("span.tiny.m3", {}, t("runs.note")), note), problem,
      h("div.rowf", {}, h("span.tiny.m3.grow", {}, t("runs.editHow")),
        h("button.btn.bare", {type: "button", onclick: () => close()}, t("common.cancel")),
          h("button.btn.pri", {type: "submit"}, t("common.save")))), {label: t("runs.edit")});
}
