// A question the server or its key puts to the reader: host key, password, passphrase, one-time code.

import * as api from "../shared/api.js";
import {h, icon, own} from "../shared/dom.js";
import {prompted, t} from "../shared/words.js";

function fingerprint(rows) {
  return h("div.fp", {}, rows.filter(([, value]) => value)
    .map(([name, value]) => [h("span", {}, name), h("span", {}, own(value))]));
}

function hostKey(question, answer) {
  const hash = (question.fingerprint || "").replace(/^SHA256:/, "");
  return [h("b", {}, t("settings.key.unknown", {host: question.host || ""})),
    fingerprint([[t("settings.key.type"), question.key_type], ["SHA256", hash]]),
    h("div.m2", {}, t(question.comparison ? "settings.key.compare" : "settings.key.compareAsk")),
    question.comparison ? h("div.mono.command", {title: question.comparison}, own(question.comparison))
      : null,
    h("div.rowf.ans", {},
      h("button.btn", {type: "button", onclick: () => answer("trust")}, t("settings.key.trust")),
      h("button.btn", {type: "button", onclick: () => answer("refuse")}, t("settings.key.stop")),
        h("span.m3.tiny", {}, t("settings.key.kept")))];
}

/** A changed key: both fingerprints, and how to settle it; there is no button that trusts it. */
export function changedKey({known, places, offered, host, removal}) {
  const plain = (key) => (key || "").replace(/^SHA256:/, "");
  const before = places?.length ? places.map(([key, path]) => t("settings.key.place", {key, path}))
    .join(t("settings.comma")) : plain(known);
  return [h("b", {}, t("settings.key.changed", {host: host || ""})),
    fingerprint([[t("settings.key.before"), before], [t("settings.key.now"), plain(offered)]]),
    h("div.m2", {}, t("settings.key.changedHow")),
    (removal || []).map((command) => h("div.mono.command", {title: command}, own(command)))];
}

function prompt(question, answer) {
  const field = h("input.inp",
    {type: question.echo ? "text" : "password",
      autocomplete: question.kind === "code" ? "one-time-code" : "off",
      "aria-label": t(`settings.ask.${question.kind}`), maxlength: 1000});
  const send = (event) => {
    event.preventDefault();
    answer("answer", field.value);
  };
  queueMicrotask(() => field.isConnected && field.focus());
  return [h("b", {}, t(`settings.ask.${question.kind}`)),
    h("div.m2.prompt", {}, own(prompted(question.prompt || ""))),
    h("form.rowf.ans", {onsubmit: send}, field, h("button.btn", {type: "submit"}, t("settings.ask.send")),
      h("button.btn.bare", {type: "button", onclick: () => answer("refuse")}, t("settings.key.stop")))];
}

/** The question as a yellow box. failed(error) when its answer was not taken. */
export function questionBox(question, failed) {
  const box = h("div.ask", {data: {question: question.id}, role: "group", "aria-label": t("link.waiting")});
  const answer = async (how, text) => {
    box.querySelectorAll("button, input").forEach((control) => { control.disabled = true; });
    try {
      if (how === "trust") {
        await api.post("/api/connections/trust", {question: question.id});
      } else {
        await api.post("/api/connections/answer",
          {question: question.id, answer: how === "refuse" ? null : text});
      }
    } catch (error) {
      failed(error);
    }
  };
  box.append(icon("ask", "warn"),
    h("div.q", {}, question.kind === "host_key" ? hostKey(question, answer) : prompt(question, answer)));
  return box;
}
