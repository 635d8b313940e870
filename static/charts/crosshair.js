// What the charts of one page share: where the crosshair stands, which stretch of x is shown. Pure: knows no
// node.

const LEAST_SHARE = 0.25;        // of the common range: a chart whose curves are shorter keeps to its own

/**
 * hovered, pinned: x or null; shown: {lo, hi} after a zoom, null for everything; range: {lo, hi} of all
 * curves. Listeners get (what, value, source).
 */
export class Link {
  constructor() {
    this.hovered = null;
    this.pinned = null;
    this.shown = null;
    this.range = null;
    this.listeners = new Set();
  }

  /** Call listener(what, value, source) for "hover", "pin" and "zoom"; returns a function that stops it. */
  on(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(what, value, source) {
    for (const listener of [...this.listeners]) {
      listener(what, value, source);
    }
  }

  /**
   * A chart has curves from lo to hi: returns what it shows, the range of all charts unless it would be lost
   * in it.
   */
  widen({lo, hi}) {
    if (!(lo <= hi)) {
      return this.range || {lo, hi};
    }
    this.range = this.range ? {lo: Math.min(this.range.lo, lo), hi: Math.max(this.range.hi, hi)} : {lo, hi};
    return hi - lo >= (this.range.hi - this.range.lo) * LEAST_SHARE ? this.range : {lo, hi};
  }

  /** x means something else from now on. */
  forget() {
    Object.assign(this, {shown: null, range: null, hovered: null, pinned: null});
  }

  hover(x, source) {
    if (x !== this.hovered) {
      this.hovered = x;
      this.tell("hover", x, source);
    }
  }

  /** Keep the crosshair at x; null lets it go. */
  pin(x, source) {
    this.pinned = x;
    this.tell("pin", x, source);
  }

  zoom(lo, hi, source) {
    this.shown = {lo, hi};
    this.tell("zoom", this.shown, source);
  }

  reset(source) {
    if (this.shown) {
      this.shown = null;
      this.tell("zoom", null, source);
    }
  }

  /**
   * After news up to x = last (before: up to `before`): a stretch whose right edge was in view slides along.
   * Returns whether it did.
   */
  follow(before, last) {
    if (!this.shown || !(last > before) || this.shown.hi < before) {
      return false;
    }
    const width = this.shown.hi - this.shown.lo;
    const hi = Math.max(this.shown.hi, last);
    this.shown = {lo: hi - width, hi};
    return true;
  }
}
