// Lets so much work run at the same time; of what waits, the most urgent is next. Pure.

export class Turns {
  /** most: how many pieces of work run at the same time. */
  constructor(most) {
    this.most = most;
    this.running = 0;
    this.waiting = [];           // {rank, begin}, the most urgent first
  }

  /** Do work() when its turn has come, those of the smallest `rank` first; resolves to what it does. @param {number} rank @param {() => Promise<any>} work */
  async take(rank, work) {
    if (this.running >= this.most) {
      await new Promise((begin) => {
        const at = this.waiting.findIndex((other) => other.rank > rank);
        this.waiting.splice(at < 0 ? this.waiting.length : at, 0, {rank, begin});
      });
    } else {
      this.running += 1;
    }
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      next ? next.begin() : this.running -= 1;
    }
  }
}
