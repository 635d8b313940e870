"""One HTML page that shows a run, or compares several, from a disk, with no network: scripts, style and data
are all inside.

Whatever a run holds is data: it stands in a JSON block with every "<" escaped and reaches the page as text
only. The page's own scripts are allowed by their hashes, so nothing else can run.
"""

from __future__ import annotations

import base64
import html
import json
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from runicorn import assets, layout
from runicorn.errors import DataError, MissingPackageError
from runicorn.version import VERSION

if TYPE_CHECKING:
    from typing import Any

BUCKETS = 500               # of a curve; at most three points each, one for every pixel of a chart
SMOOTH = 0.9                # weight of the smoothed curve one may look at instead
SMOOTHED_FROM = 200         # points; a curve of fewer would only lag behind itself
DIGITS = 8                  # of a drawn value: finer than a screen, half the size of a float64
FACTS = ("id", "key", "project", "name", "state", "user", "host", "started", "ended", "duration", "tags",
         "note", "connection_name")
SCRIPTS = ("uplot/uPlot.iife.min.js", "report/report.js")
STYLES = ("uplot/uPlot.min.css", "report/report.css")


def page(runs):
    """Yield the page (bytes). runs: [(run as Catalog.run tells it, Series), …].

    Raises MissingPackageError if this copy has no uPlot, DataError while a run is not all here.
    """
    scripts, styles = _assets(SCRIPTS), _assets(STYLES)
    title = html.escape(", ".join(f"{run.get('project')}/{run.get('name')}" for run, _ in runs))
    policy = (f"default-src 'none'; script-src {_allowed(scripts)}; "
              f"style-src {_allowed(styles)}; img-src data:")
    yield ('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" '
           'content="width=device-width">\n'
           f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
           f'<title>{title} · Runicorn</title>\n').encode("utf-8", "replace")
    yield (b"".join(b"<style>" + style + b"</style>\n" for style in styles)
           + b'</head>\n<body>\n<main id="report"></main>\n')
    yield b'<script type="application/json" id="data">\n'
    yield from _data(runs)
    yield (b"</script>\n" + b"".join(b"<script>" + script + b"</script>\n" for script in scripts)
           + b"</body>\n</html>\n")


def _assets(names):
    try:
        files = [assets.read(name) for name in names]
    except FileNotFoundError as error:
        raise MissingPackageError("this copy has no uPlot for the report's charts; run `make` once where "
                                  "there is a network") from error
    for name, text in zip(names, files):
        if b"</s" in text.lower():              # it would end its own element
            raise DataError(f"static/{name} holds an end tag and can't stand inside a page")
    return files


def _allowed(texts):
    return " ".join(f"'sha256-{base64.b64encode(sha256(text).digest()).decode()}'" for text in texts)


def _data(runs):
    """Yield the JSON the page draws, a curve at a time: {"version", "made", "runs": […], "curves": […]}."""
    for _, series in runs:
        series.refresh()
    facts = [_facts(run, series) for run, series in runs]
    yield _json({"version": VERSION, "made": time.time(), "runs": facts})[:-1] + b',"curves":[\n'
    before = b""
    for index, (_, series) in enumerate(runs):
        for metric in series.metrics():
            for rank in series.ranks:
                curve = _curve(index, series, metric, rank)
                if curve:
                    yield before + _json(curve)
                    before = b",\n"
    yield b"]}\n"


def _facts(run, series):
    metrics = {name: {"last": facts["last"], "points": facts["points"], "step": facts["last_step"],
                      "rule": layout.best_rule(name),
                      "best": facts["best"] and facts["best"][layout.best_rule(name)]}
               for name, facts in series.metrics().items()}
    bests = {metric["name"]: metric["best"] for metric in run.get("metrics") or []}
    for name, best in bests.items():             # the rule the user chose, where there is one
        if best and name in metrics:
            metrics[name].update(rule=best["rule"], best=[best["value"], best["step"]])
    return {**{name: run.get(name) for name in FACTS}, "metrics": metrics,
            "config": flattened(run.get("config") or {}), "summary": flattened(run.get("summary") or {}),
            "git": (run.get("meta") or {}).get("git")}


def _curve(run, series, metric, rank):
    """Return one drawn curve, {"run", "metric", "rank", "x", "y", "smooth": [x, y] or None, "nan", "n", "m"},
    or None; x is the step."""
    shown = series.picture(metric, buckets=BUCKETS, smooth=SMOOTH, rank=rank)
    if shown is None:
        return None
    if shown["approximate"]:
        raise DataError(f"{series.folder} is not all here yet; wait until it is synced, then try again")
    points = list(zip(shown["x"], shown["last"]))
    if not shown["exact"]:
        points = sorted({*points, *zip(shown["min_x"], shown["min"]), *zip(shown["max_x"], shown["max"])},
                        key=lambda point: point[0])
    return {"run": run, "metric": metric, "rank": rank, "x": [x for x, _ in points],
            "y": _short(y for _, y in points), "smooth": [shown["x"], _short(shown["smooth"])]
            if shown["m"] >= SMOOTHED_FROM else None, "nan": shown["nan"], "n": shown["n"], "m": shown["m"]}


def _short(values):
    return [float(f"{value:.{DIGITS}g}") for value in values]


def flattened(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, {"model.layers": 6}; lists become their JSON text."""
    out = {}
    for name, item in value.items():
        if isinstance(item, dict) and item:
            out.update(flattened(item, f"{prefix}{name}."))
        else:
            out[f"{prefix}{name}"] = layout.to_json(item) if isinstance(item, (list, dict)) else item
    return out


def _json(value):
    """Return strict JSON (bytes) that can stand inside a script element: no "<", so no end tag and no
    comment."""
    text = json.dumps(layout.strict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode("utf-8", "replace")
