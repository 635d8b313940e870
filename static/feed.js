// Holds the curves a page shows: fetches them whole, then only what is new, and joins the two.

import {joinTail, overgrown} from "./series.js";

const BUCKETS = 600;
const SLOW_SHARE = 0.05;         // a curve that ended this far (share of the run) before the newest point is asked for once a second only
const SLOW_MS = 1000;
const WHOLE_MS = 30000;          // the newest points come joined; now and then everything is fetched anew
const AT_ONCE = 40;              // curves in one request

const nameOf = (run, metric) => `${run}\n${metric}`;

export class Feed {
  /** ask(parameters, signal) -> the answer of GET /api/series. */
  constructor(ask) {
    this.ask = ask;
    this.held = new Map();       // run and metric -> series
    this.wholeAt = new Map();    // run and metric -> when it was fetched whole, ms
    this.how = {x: "step", smooth: 0, rank: 0};
    this.shown = null;           // {lo, hi} of a zoom
    this.slowAt = 0;
  }

  /** Change x, smooth, rank or the shown stretch: what is held stays on screen until the new comes. */
  set(how, shown = this.shown) {
    this.how = {...this.how, ...how};
    this.shown = shown;
    this.wholeAt.clear();
    this.round?.abort();
    this.round = new AbortController();
  }

  get(run, metric) {
    return this.held.get(nameOf(run, metric));
  }

  /** What to ask for whole and what to go on with. wanted: [[run, metric]] */
  sort(wanted, now) {
    const whole = [];
    const tails = [];
    for (const [run, metric] of wanted) {
      const name = nameOf(run, metric);
      const held = this.held.get(name);
      const old = !(now - this.wholeAt.get(name) < WHOLE_MS);
      const joins = held && held.x_max != null && !this.shown && !held.approximate && !this.how.x.startsWith("metric:") && !overgrown(held, BUCKETS);
      (old || !joins ? whole : tails).push([run, metric]);
    }
    return {whole, tails};
  }

  /** Fetch whole what is not held as it should be; nothing else is asked for. */
  async want(wanted) {
    const missing = wanted.filter(([run, metric]) => !this.wholeAt.has(nameOf(run, metric)));
    await this.fetch(missing);
  }

  /** Fetch what is new of `wanted`. */
  async renew(wanted) {
    const now = performance.now();
    const {whole, tails} = this.sort(wanted, now);
    const ends = tails.map(([run, metric]) => this.get(run, metric).x_max);
    const newest = Math.max(...ends);
    const oldest = Math.min(...tails.map(([run, metric]) => this.get(run, metric).x_min ?? newest));
    const isSlow = (at) => newest - ends[at] > (newest - oldest) * SLOW_SHARE;
    const quick = tails.filter((_, at) => !isSlow(at));
    const slow = now - this.slowAt > SLOW_MS ? tails.filter((_, at) => isSlow(at)) : [];
    if (slow.length) {
      this.slowAt = now;
    }
    await Promise.all([this.fetch(whole), this.fetch(quick, true), ...slow.map((one) => this.fetch([one], true))]);
  }

  async fetch(wanted, tail = false) {
    if (!wanted.length) {
      return;
    }
    const from = tail ? Math.min(...wanted.map(([run, metric]) => this.get(run, metric).x_max)) : this.shown?.lo;
    const runs = [...new Set(wanted.map(([run]) => run))];
    const metrics = [...new Set(wanted.map(([, metric]) => metric))];
    const some = Math.max(1, Math.floor(AT_ONCE / runs.length));
    const parts = Array.from({length: Math.ceil(metrics.length / some)}, (_, i) => metrics.slice(i * some, (i + 1) * some));
    this.round ??= new AbortController();
    const {signal} = this.round;
    const asked = performance.now();
    await Promise.all(parts.map(async (metric) => {
      const answer = await this.ask({run: runs, metric, x: this.how.x, from, to: tail ? null : this.shown?.hi, buckets: BUCKETS,
        smooth: this.how.smooth || null, rank: this.how.rank || null}, signal);
      if (!signal.aborted) {
        this.take(answer, wanted, tail ? from : null, asked);
      }
    }));
  }

  take(answer, wanted, from, asked) {
    const names = new Set(wanted.map(([run, metric]) => nameOf(run, metric)));
    for (const one of answer.series) {
      const name = nameOf(one.run, one.metric);
      if (!names.has(name)) {
        continue;
      }
      if (from === null) {
        this.wholeAt.set(name, asked);
      }
      this.held.set(name, from === null ? one : joinTail(this.held.get(name), one, from, true));
    }
  }

  /** Fetch everything anew at the next renew(): the past has changed (a new attempt). */
  forget() {
    this.wholeAt.clear();
  }

  stop() {
    this.round?.abort();
  }
}
