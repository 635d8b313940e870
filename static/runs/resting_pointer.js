// Whether somebody's pointer moves over the rows: what they are about to press must not slip away under it.

export const STILL = 2;          // seconds without a move after which a pointer no longer holds the order

export class RestingPointer {
  constructor(node, signal) {
    this.movedAt = -Infinity;
    node.addEventListener("pointermove", () => { this.movedAt = performance.now(); }, {signal});
    node.addEventListener("pointerleave", () => { this.movedAt = -Infinity; }, {signal});
  }

  /** Whether the order of the rows has to stay. */
  get moves() {
    return performance.now() - this.movedAt < STILL * 1000;
  }
}
