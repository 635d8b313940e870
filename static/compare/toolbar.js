// The bar of the compare page: what it shows, how its charts are drawn, what can be taken out of it.

import {axisChoice, download, smoothing} from "../charts/toolbar.js";
import {copy, fill, h, icon} from "../shared/dom.js";
import {menu, segmented} from "../shared/widgets.js";
import {t} from "../shared/words.js";

function copyButton() {
  const link = h(
    "button.btn.no-s",
    {
      type: "button",
      onclick: async () => fill(link, icon("copy"),
        t((await copy(location.href)) ? "common.copied" : "common.notCopied")),
    },
    icon("copy"),
    t("compare.copyLink"),
  );
  return link;
}

function exportButton(save) {
  const more = h(
    "button.btn",
    {
      type: "button",
      "aria-haspopup": "menu",
      onclick: () => menu(more, [{label: t("compare.exportTable"), icon: "save", run: save}], {right: true}),
    },
    t("run.export"),
    icon("dn", "dn"),
  );
  return more;
}

/**
 * The bar's nodes for {count: runs, all: equal rows too, hidden, zoom: nodes of the board, smooth, x,
 * metrics() -> names}.
 * hooks: {add(button), all(bool), smooth(value), x(name), save()}
 */
export function toolbar({count, all, hidden, zoom, smooth, x, metrics}, hooks) {
  const adder = h("button.btn", {type: "button", "aria-haspopup": "dialog", onclick: () => hooks.add(adder)},
    t("compare.add"));
  const kinds = [
    ["some", t("compare.differences")],
    ["all", t("compare.allKeys")],
  ];
  return [
    h("h1", {}, h("b", {}, t("compare.runs", {n: count}))),
    adder,
    segmented(t("compare.show"), kinds, all ? "all" : "some", (value) => hooks.all(value === "all")),
    h("span.grow"),
    hidden,
    zoom,
    smoothing(smooth, hooks.smooth),
    axisChoice(x, metrics, hooks.x),
    exportButton(hooks.save),
    copyButton(),
  ];
}

/** Save rows of texts as compare.csv. */
export function saveTable(rows) {
  const cell = (value) => (/[",\n\r]/.test(String(value ?? "")) ? `"${String(value).replaceAll('"', '""')}"`
    : String(value ?? ""));
  download("compare.csv",
    new Blob([rows.map((row) => row.map(cell).join(",")).join("\n") + "\n"], {type: "text/csv"}));
}
