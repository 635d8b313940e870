// Work that news ask for, done at most so often; the last of it is never left out. Pure but for the clock.

export class Rhythm {
  /** failed(error): a late piece of work did not succeed. */
  constructor(failed) {
    this.failed = failed;
    this.done = new Map();       // name -> when it was last begun, ms
    this.timers = new Map();
  }

  /** Count `name` as begun just now. */
  begin(name) {
    this.done.set(name, performance.now());
  }

  /**
   * Call work() now if `every` ms passed since the last time, else when they have. Returns its promise, or
   * null if it comes later.
   */
  ask(name, every, work) {
    const wait = every - (performance.now() - (this.done.get(name) ?? -Infinity));
    if (wait <= 0 && !this.timers.has(name)) {
      this.begin(name);
      return work();
    }
    if (!this.timers.has(name)) {
      this.timers.set(name, setTimeout(() => {
        this.timers.delete(name);
        this.begin(name);
        work().catch(this.failed);
      }, Math.max(0, wait)));
    }
    return null;
  }

  stop() {
    this.timers.forEach((timer) => clearTimeout(timer));
    this.timers.clear();
  }
}
