// What time it is: by the viewer's clock, whatever this browser's shows. An age on a page is the difference
// of two moments of that one clock. Knows no page.

const JUMP = 2000;               // ms by which two clocks of a browser may drift apart between two answers
const JITTER = 0.25;             // s of difference between two answers that are the way they took

let anchor = null;               // {viewer: s, wall: ms, steady: ms}: the same moment by three clocks

/** This moment by the two clocks a browser has: {wall: ms, steady: ms}. */
export const moment = () => ({wall: Date.now(), steady: performance.now()});

/**
 * Seconds since a moment: a steady clock stands still while the machine sleeps, and a wall clock may be set
 * back.
 */
const since = ({wall, steady}) => Math.max(Date.now() - wall, performance.now() - steady) / 1000;

/** The time, Unix s. */
export const now = () => (anchor ? anchor.viewer + since(anchor) : Date.now() / 1000);

/**
 * The viewer's clock showed `viewer` (Unix s) at a moment of this browser; without one an answer told no
 * time.
 */
export function setClock(viewer, at = moment()) {
  if (viewer > 0 && !(anchor && !jumped() && Math.abs(viewer + since(at) - now()) < JITTER)) {
    anchor = {viewer, ...at};
  }
}

/**
 * Whether this browser's clock was set, or its machine slept, since the viewer last told the time: the next
 * answer settles which.
 */
export function jumped() {
  return anchor !== null && Math.abs(Date.now() - anchor.wall - performance.now() + anchor.steady) > JUMP;
}
