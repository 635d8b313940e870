// What the run list says where it has no rows: how to get the first run, or how to find one again.

import {fill, h, icon} from "../shared/dom.js";
import {version} from "../shared/api.js";
import {empty} from "../shared/widgets.js";
import {t} from "../shared/words.js";

/** There is no run anywhere yet. */
function welcome() {
  return empty(t("runs.none"), h("p", {}, t("runs.noneLocal")),
    h("pre", {},
      `pip install runicorn-${version()}-py3-none-any.whl\npython -c "import runicorn; runicorn.init().log({'loss': 1})"`),
    h("p", {}, t("runs.noneForeign")), h("pre", {}, "runicorn viewer --root FOLDER"),
    h("p", {}, t("runs.noneRemote")), h("pre", {}, "runicorn config ssh add"),
    h("p", {}, h("a.btn.pri", {href: "/settings?tab=sync&add=1"}, t("top.add")),
      h("span.m3", {}, t("runs.noneDemo"), " "), h("span.mono", {}, "runicorn demo")));
}

/** The filter of the address can't be read; the box says why. */
export function badFilter() {
  return empty(t("runs.badFilter"), h("p", {}, t("runs.noMatchHow")), h("pre", {}, t("runs.filterExamples")),
    h("p", {}, h("a.btn", {href: "/"}, t("runs.showAll"))));
}

/** There are runs, but none of them fits. filtered: by words, so that other words may help. */
function noMatch(filtered) {
  return empty(t("runs.noMatch"),
    filtered ? [h("p", {}, t("runs.noMatchHow")), h("pre", {}, t("runs.filterExamples"))] : null,
    h("p", {}, h("a.btn", {href: "/"}, t("runs.showAll"))));
}

/**
 * What stands in the place of rows, in `root`, of the whole page, or in `table`; and above them, where an
 * answer did not come.
 */
export class NoRows {
  constructor(root, table) {
    this.root = root;
    this.table = table;
    this.notice = h("div");
  }

  /** Nothing, the way to a first run, or that the filter fits none, as the answer to the query says. */
  show(answer, query) {
    const {filter, project, connection, tag, hidden} = query;
    const nothing = answer.total === 0 && !answer.loading && !filter && !project && !connection && !tag
      && !hidden;
    fill(this.notice);
    this.root.classList.toggle("bare", nothing);
    this.welcome?.remove();
    this.welcome = nothing ? this.root.appendChild(welcome()) : null;
    this.words?.remove();
    this.words = null;
    if (!nothing && !answer.loading && !answer.unread && answer.matched === 0) {
      this.say(noMatch(Boolean(filter)));
    }
  }

  say(words) {
    this.words?.remove();
    this.words = this.table.appendChild(words);
  }

  /** The list could not be read: what is shown stays. again() asks once more. */
  failed(error, again) {
    fill(this.notice, h("div.banner.bad", {role: "alert"}, icon("failed", "bad"),
      h("span.grow", {}, t("runs.failedToRead", {message: error.message})),
      h("button.btn", {type: "button", onclick: again}, t("common.retry"))));
  }
}
