"""What is said of a run beside its row in the list: of its metrics, and of our copy of it. Pure functions."""


def verified_facts(entry):
    """Return what is known of our copy of a run: whether it is what the server had, when, how often that is
    looked at (s), and whether nobody can know, as the server tells no times, or not before a large log
    rests."""
    true, checked_at = entry.source.verified(entry.record.path)
    return {"verified": true, "verified_at": checked_at,
            "verified_every": getattr(entry.source, "turn", None),
            "no_times": not true and entry.source.is_undated(entry.record.path),
            "unhashed": not true and entry.source.is_unhashed(entry.record.path)}


def metric_facts(name, facts, rule):
    """Return a metric as the page of its run shows it (dict). facts: as Series.metrics has them; rule: "min"
    or "max"."""
    best = facts["best"] and facts["best"][rule]
    return {"name": name,
            **{key: facts[key] for key in ("points", "first_step", "last_step", "last", "last_ts", "ranks")},
            "best": {"value": best[0], "step": best[1], "rule": rule} if best else None}


def with_best(main, metrics):
    """Return a row's main metric with the best value that its whole curve has: a list looks at places of a
    long one. metrics: what `metric_facts` returned."""
    best = next((metric["best"] for metric in metrics if main and metric["name"] == main["metric"]), None)
    return {**main, "best": {"value": best["value"], "step": best["step"]}} if best else main
