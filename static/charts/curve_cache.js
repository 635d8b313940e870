// Holds the curves a page shows: fetches them whole, then only what is new, and joins the two.

import {joinTail, noisy, overgrown, pointWeight} from "./curves.js";
import {Turns} from "./turns.js";

const BUCKETS = 600;
const CROWD = 12;                // runs over each other from which half as many buckets of each look the same
// a curve that ended this far (share of the run) before the newest point is asked for once a second only
const SLOW_SHARE = 0.05;
const SLOW_MS = 1000;
const WHOLE_MS = 30000;          // the newest points come joined; now and then everything is fetched anew
const MANY = 200_000;            // points from which smoothing is felt
const AT_ONCE = 40;              // curves in one request
// requests at the same time: the viewer works on one while the other is on its way
const IN_FLIGHT = 2;
const MOST_HELD = 1000;          // curves that are kept when their charts are no longer near

const nameOf = (run, metric) => `${run}\n${metric}`;

/**
 * Pairs of run and metric as requests of all runs and some metrics each: [{run: [keys], metric: [names],
 * pairs}].
 */
function parts(pairs) {
  const run = [...new Set(pairs.map(([key]) => key))];
  const byMetric = new Map();
  pairs.forEach((pair) => byMetric.set(pair[1], [...(byMetric.get(pair[1]) || []), pair]));
  const metrics = [...byMetric.keys()];
  const some = Math.max(1, Math.floor(AT_ONCE / run.length));
  return Array.from({length: Math.ceil(metrics.length / some)},
    (_, i) => metrics.slice(i * some, (i + 1) * some))
    .map((metric) => ({run, metric, pairs: metric.flatMap((name) => byMetric.get(name))}));
}

export class Feed {
  /**
   * ask(parameters, signal) -> the answer of GET /api/series. axis(metric): the metric it is drawn by in
   * place of the page's x, or null;
   * stretch(axis): {lo, hi} of a zoom of the charts with that axis, or null.
   */
  constructor(ask, axis = null, stretch = null) {
    this.ask = ask;
    this.axis = axis ?? (() => null);
    this.stretch = stretch ?? (() => null);
    this.held = new Map();       // run and metric -> series
    this.wholeAt = new Map();    // run and metric -> when it was fetched whole, ms
    this.how = {x: "step", smooth: 0, rank: 0};
    this.shown = null;           // {lo, hi} of a zoom
    this.slowAt = 0;
    this.asking = new Map();     // run and metric -> the promise of an answer that is on its way
    this.turns = new Turns(IN_FLIGHT);
    this.round = new AbortController();      // ends what was asked for when something else is wanted
    this.buckets = BUCKETS;
    this.points = new Map();     // run and metric -> how many were logged
  }

  /**
   * Learn how many points the metrics of a run have: the smoothing is meant for what is seen, whatever their
   * number.
   */
  count(run, metrics) {
    metrics.forEach(({name, points}) => this.points.set(nameOf(run, name), points));
  }

  /** Learn over how many runs each chart goes. */
  crowd(runs) {
    this.buckets = runs > CROWD ? BUCKETS / 2 : BUCKETS;
  }

  /**
   * A curve without noise is not smoothed; one of very many points is first drawn as it is, because smoothing
   * all of them takes long.
   */
  weight(run, metric) {
    const name = nameOf(run, metric);
    const points = this.points.get(name) || 1;
    const held = this.held.get(name);
    return held?.noise === false || (!held && points > MANY) ? 0
      : pointWeight(this.how.smooth, points, BUCKETS);
  }

  /** What x is for a metric, as GET /api/series calls it. */
  x(metric) {
    const own = this.axis(metric);
    return own ? `metric:${own}` : this.how.x;
  }

  /** Change x, smooth, rank or the shown stretch: what is held stays on screen until the new comes. */
  set(how, shown = this.shown) {
    this.how = {...this.how, ...how};
    this.shown = shown;
    this.wholeAt.clear();
    this.asking.clear();
    this.round.abort();
    this.round = new AbortController();
  }

  /** The shown stretch slid along with the newest points: nothing is asked for anew. */
  move(shown) {
    this.shown = shown;
  }

  /** What x means has changed: nothing that is held can be drawn any more. */
  clear() {
    this.held.clear();
  }

  /**
   * Metrics that are drawn by something else from now on: of these nothing that is held or on its way can be
   * drawn.
   */
  drop(metrics) {
    const names = new Set(metrics);
    for (const known of [this.held, this.wholeAt, this.asking]) {
      [...known.keys()].filter((name) => names.has(name.slice(name.indexOf("\n") + 1)))
        .forEach((name) => known.delete(name));
    }
  }

  /** Whether what is held is as smooth as it is meant to be. */
  smoothed(run, metric) {
    const weight = this.weight(run, metric);
    return weight === 0 || this.get(run, metric).weight === weight;
  }

  /** Whether an answer for it is on its way. */
  isComing(run, metric) {
    return this.asking.has(nameOf(run, metric));
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
      if (this.asking.has(name)) {
        continue;
      }
      const held = this.held.get(name);
      const old = !(now - this.wholeAt.get(name) < WHOLE_MS);
      const joins =
        held &&
        held.x_max != null &&
        !this.shown &&
        !held.approximate &&
        this.smoothed(run, metric) &&
        !this.x(metric).startsWith("metric:") &&
        !overgrown(held, this.buckets);
      (old || !joins ? whole : tails).push([run, metric]);
    }
    return {whole, tails};
  }

  /**
   * Fetch whole what is not held as it should be, and wait for what is on its way; nothing else is asked for.
   * Charts are fetched in the order of `wanted`; came(metrics): some of their curves are here. Resolves to
   * whether all are, and nothing else is wanted now.
   */
  async want(wanted, came = (_metrics) => null) {
    const {signal} = this.round;
    const names = wanted.map((pair) => nameOf(...pair));
    const missing = wanted.filter((_, at) => !this.wholeAt.has(names[at]) && !this.asking.has(names[at]));
    const coming = new Set(names.map((name) => this.asking.get(name)).filter(Boolean));
    try {
      await Promise.all([this.fetch(missing, {came}), ...coming]);
      await this.fetch(
        missing.filter((pair) => this.get(...pair) && !this.smoothed(...pair)
          && !this.asking.has(nameOf(...pair))), {came});
    } catch (error) {
      if (!signal.aborted) {
        throw error;
      }
    }
    return !signal.aborted;
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
    const byRun = new Map();
    quick.forEach((pair) => byRun.set(pair[0], [...(byRun.get(pair[0]) || []), pair]));
    await Promise.all([this.fetch(whole),
      ...[...byRun.values(), ...slow.map((one) => [one])].map((tail) => this.fetch(tail, {tail: true}))]);
  }

  /**
   * Ask for `wanted` in a few requests: as many curves in one as make sense, those of one smoothing and one x
   * together. tail: only what is new of them; came: see want().
   */
  async fetch(wanted, {tail = false, came = (_metrics) => null} = {}) {
    if (!wanted.length) {
      return;
    }
    const end = tail ? Math.min(...wanted.map(([run, metric]) => this.get(run, metric).x_max)) : null;
    const kinds = new Map();
    for (const pair of wanted) {
      const kind = `${this.weight(...pair)}\n${this.x(pair[1])}`;
      kinds.set(kind, [...(kinds.get(kind) || []), pair]);
    }
    const order = [...new Set(wanted.map(([, metric]) => metric))];
    await Promise.all([...kinds.values()].flatMap((pairs) => {
      const [[run, metric]] = pairs;
      const own = this.axis(metric);
      const shown = own ? this.stretch(own) : this.shown;
      const how = {x: this.x(metric), weight: this.weight(run, metric), tail, from: tail ? end : shown?.lo,
        to: tail ? null : shown?.hi};
      return parts(pairs).map((part) => this.request(part, how, order.indexOf(part.metric[0]), came));
    }));
  }

  /** Send one request when its turn has come. */
  request(part, how, rank, came) {
    const {signal} = this.round;
    const names = part.pairs.map((pair) => nameOf(...pair));
    const answered = this.turns.take(rank, () => this.send(part, how, signal, came)).finally(
      () => names.forEach((name) => this.asking.get(name) === answered && this.asking.delete(name)));
    names.forEach((name) => this.asking.set(name, answered));
    return answered;
  }

  async send({run, metric, pairs}, {x, from, to, tail, weight}, signal, came) {
    if (signal.aborted) {
      return;
    }
    const asked = performance.now();
    const answer = await this.ask({run, metric, x, from, to, buckets: this.buckets, smooth: weight || null,
      rank: this.how.rank || null}, signal);
    if (!signal.aborted) {
      this.take(answer, pairs.filter((pair) => this.x(pair[1]) === x),
        {from: tail ? from : null, asked, weight});
      came(metric);
    }
  }

  take(answer, wanted, {from, asked, weight}) {
    const names = new Set(wanted.map(([run, metric]) => nameOf(run, metric)));
    for (const one of answer.series) {
      const name = nameOf(one.run, one.metric);
      // what it would be joined to was let go meanwhile
      if (!names.has(name) || (from !== null && !this.held.has(name))) {
        continue;
      }
      if (from === null) {
        this.wholeAt.set(name, asked);
      }
      this.held.set(name,
        {...(from === null ? {...one, noise: noisy(one)} : joinTail(this.held.get(name), one, from, true)),
          weight});
    }
  }

  /** Fetch everything anew at the next renew(): the past has changed (a new attempt). */
  forget() {
    this.wholeAt.clear();
  }

  /** Of many curves keep those of `near`, and of the others the newest. */
  letGo(near) {
    let many = this.held.size - MOST_HELD;
    if (many <= 0) {
      return;
    }
    const wanted = new Set(near.map((pair) => nameOf(...pair)));
    for (const name of this.held.keys()) {
      if (!wanted.has(name)) {
        this.held.delete(name);
        this.wholeAt.delete(name);
        many -= 1;
      }
      if (many <= 0) {
        return;
      }
    }
  }

  stop() {
    this.round.abort();
  }
}
