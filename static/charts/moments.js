// When a point was logged: its step, time of day and epoch, asked of the viewer once the crosshair rests on
// it.

import * as api from "../shared/api.js";

const REST_MS = 60;              // a crosshair that moves on asks for nothing
const KEPT = 2000;               // moments remembered; a point never changes its own
const TIMED = ["step", "relative", "wall"];

const known = new Map();
let timer = 0;
let round = null;

const nameOf = ({series, x}, kind) => [series.run, series.metric, series.rank, kind, x].join("\n");

/**
 * What is known of the point of a row (of series.valuesAt): {step, ts, epoch}, or undefined. kind: what x is.
 */
export const momentOf = (row, kind) => known.get(nameOf(row, kind));

/**
 * Ask for the moments of `rows` that are not known yet, unless other rows are wanted first; then call done().
 */
export function learnMoments(rows, kind, done) {
  clearTimeout(timer);
  round?.abort();
  const unknown = TIMED.includes(kind) ? rows.filter((row) => !known.has(nameOf(row, kind))) : [];
  if (!unknown.length) {
    return;
  }
  const {signal} = round = new AbortController();
  const ask = async (row) => {
    const {run, metric, rank} = row.series;
    const found = await api.get("/api/moment", {run, metric, x: kind, at: row.x, rank: rank || null}, signal);
    known.set(nameOf(row, kind), found);
  };
  timer = setTimeout(async () => {
    const answers = await Promise.allSettled(unknown.map(ask));
    while (known.size > KEPT) {
      known.delete(known.keys().next().value);
    }
    if (!signal.aborted && answers.some(({status}) => status === "fulfilled")) {
      done();                    // one that failed stays blank: the values beside it still hold
    }
  }, REST_MS);
}
