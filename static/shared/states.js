// Which states of a run go on and which are ends, as the viewer names them. "lost" is neither: it may come
// back.

const LIVE = new Set(["running", "stalled", "checking"]);
const ENDED = new Set(["finished", "failed", "interrupted"]);

/** Whether a run in this state is taken for one that goes on. */
export const isLive = (state) => LIVE.has(state);

/** Whether nothing more is to come of a run in this state. */
export const hasEnded = (state) => ENDED.has(state);
