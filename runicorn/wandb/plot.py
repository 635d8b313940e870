"""W&B's plots: the table they are drawn from, with what is to be drawn."""

from itertools import groupby

from runicorn.wandb.table import Table
from runicorn.writer.images import Medium, array_of

__path__ = []           # W&B has modules below it
POINTS = 1000           # of one curve that is made here


class CustomChart(Medium):
    """A table and how it is drawn. kind: str, "line" and the like."""

    type = "plot"

    def __init__(self, kind, table, fields=None, title="", **words):
        self.table, self._spec = (table, {"plot": kind, "title": title or "", "fields": dict(fields or {}),
                                          **words})

    def entry(self, media):
        """Return {"file", "rows", "columns", "plot", "title", "fields"}."""
        return {**self.table.entry(media), **self._spec}


Visualize = CustomChart


def plot_table(vega_spec_name, data_table, fields=None, string_fields=None, split_table=False):
    """Return a plot of W&B's presets, such as "wandb/line/v0"."""
    texts = dict(string_fields or {})
    return CustomChart(str(vega_spec_name), data_table, fields, texts.pop("title", ""),
                       **({"texts": texts} if texts else {}))


def visualize(id, value):
    """Return a plot of a table."""
    return CustomChart(str(id), value)


def line(table, x, y, stroke=None, title="", split_table=False):
    """Return a line plot of two columns, one line for each value of the column `stroke`."""
    return CustomChart("line", table, {"x": x, "y": y, **({"stroke": stroke} if stroke else {})}, title)


def scatter(table, x, y, title="", split_table=False):
    """Return a scatter plot of two columns."""
    return CustomChart("scatter", table, {"x": x, "y": y}, title)


def bar(table, label, value, title="", split_table=False):
    """Return a bar chart."""
    return CustomChart("bar", table, {"label": label, "value": value}, title)


def histogram(table, value, title="", split_table=False):
    """Return a histogram of a column."""
    return CustomChart("histogram", table, {"value": value}, title)


def line_series(xs, ys, keys=None, title="", xname="x", split_table=False):
    """Return a plot of several lines. xs: one list for all, or one for each; ys: a list for each line."""
    ys, xs = [_listed(y) for y in ys], _listed(xs)
    xs = xs if xs and isinstance(xs[0], (list, tuple)) else [xs] * len(ys)
    names = list(keys or (f"line_{index}" for index in range(len(ys))))
    rows = [[x, name, y] for name, line_x, line_y in zip(names, xs, ys) for x, y in zip(line_x, line_y)]
    return CustomChart("line", Table(columns=["step", "lineKey", "lineVal"], data=rows),
                       {"x": "step", "y": "lineVal", "stroke": "lineKey"}, title, xname=str(xname))


def confusion_matrix(probs=None, y_true=None, preds=None, class_names=None, title="Confusion Matrix Curve",
                     split_table=False):
    """Return a confusion matrix. y_true: classes; preds: classes, or probs: a row of probabilities each."""
    actual = _listed(() if y_true is None else y_true)
    predicted = _listed(preds) if preds is not None else [row.index(max(row)) for row in _listed(probs or ())]
    names = [str(name) for name in class_names] if class_names is not None else None
    classes = list(range(len(names))) if names else sorted({*actual, *predicted})
    counts = {}
    for pair in zip(actual, predicted):
        counts[pair] = counts.get(pair, 0) + 1
    labels = dict(zip(classes, names or map(str, classes)))
    rows = [[labels[truth], labels[guess], counts.get((truth, guess), 0)] for truth in classes
            for guess in classes]
    return CustomChart("confusion_matrix", Table(columns=["Actual", "Predicted", "nPredictions"], data=rows),
                       {"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"}, title)


def roc_curve(y_true=None, y_probas=None, labels=None, classes_to_plot=None, title="ROC Curve",
              split_table=False):
    """Return the ROC curves of each class. y_true: classes; y_probas: a row of probabilities each."""
    def points(positives, negatives, pairs):
        yield 0.0, 0.0
        for right, wrong in pairs:
            yield wrong / max(negatives, 1), right / max(positives, 1)
    return _curves("roc_curve", ("fpr", "tpr"), points, y_true, y_probas, labels, classes_to_plot, title)


def pr_curve(y_true=None, y_probas=None, labels=None, classes_to_plot=None, interp_size=21,
             title="Precision-Recall Curve", split_table=False):
    """Return the curves of precision over recall of each class."""
    def points(positives, negatives, pairs):
        yield 0.0, 1.0
        for right, wrong in pairs:
            yield right / max(positives, 1), right / (right + wrong)
    return _curves("pr_curve", ("recall", "precision"), points, y_true, y_probas, labels, classes_to_plot,
                   title)


def _curves(kind, axes, points, y_true, y_probas, labels, classes, title):
    actual, rows = _listed(() if y_true is None else y_true), []
    for index, name in enumerate(sorted(set(actual))):
        if classes is not None and name not in classes:
            continue
        scores = [row[index] if isinstance(row, (list, tuple)) else row
                  for row in _listed(y_probas if y_probas is not None else ())]
        positives = sum(value == name for value in actual)
        curve = list(points(positives, len(actual) - positives, _thresholds(actual, scores, name)))
        label = str(labels[index]) if labels is not None and index < len(labels) else str(name)
        rows += [[label, x, y] for x, y in curve[::-(-len(curve) // POINTS) or 1]]
    return CustomChart(kind, Table(columns=["class", *axes], data=rows),
                       {"x": axes[0], "y": axes[1], "class": "class"}, title)


def _thresholds(actual, scores, name):
    """Yield (true positives, false positives) at each score, from the highest."""
    right = wrong = 0
    for _, group in groupby(sorted(zip(scores, actual), key=lambda pair: -pair[0]), key=lambda pair: pair[0]):
        hits = [value == name for _, value in group]
        right, wrong = right + sum(hits), wrong + len(hits) - sum(hits)
        yield right, wrong


def _listed(values):
    values = array_of(values)
    if hasattr(values, "tolist"):
        return values.tolist()
    return [array_of(value).tolist() if hasattr(value, "tolist") else value for value in values]


def __getattr__(name):
    from runicorn.wandb.aliases import attribute
    return attribute(name, "plot")
