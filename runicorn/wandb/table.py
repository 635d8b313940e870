"""W&B's Table: rows of any values, written as one JSON array a line."""

from importlib import import_module

from runicorn.layout import strict, to_json
from runicorn.writer.images import Medium, array_of
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, key_text, plain

COLUMNS = ("Input", "Output", "Expected")


class Table(Medium):
    """A table. columns: names; data: rows, an array, or a data frame of pandas; or dataframe. Media in its
    cells become files."""

    type = "table"

    def __init__(self, columns=None, data=None, rows=None, dataframe=None, dtype=None, optional=True,
                 allow_mixed_types=False, log_mode=None, **unknown):
        data = rows if data is None else data
        frame = dataframe if dataframe is not None else data if hasattr(data, "columns") else None
        self.columns = attempt(list, COLUMNS if columns is None else columns)[0] or list(COLUMNS)
        self.data, self.log_mode = [], log_mode
        if frame is not None:
            _, error = attempt(self._take_frame, frame)
        else:
            _, error = attempt(self._take_rows, array_of(() if data is None else data))
        if error is not None:
            say(f"Table(…): {type(error).__name__}: {error}", once=("Table", type(error)))

    def _take_frame(self, frame):
        self.columns = list(frame.columns)
        self.data = [list(row) for row in zip(
                                              *(frame[name].tolist() if hasattr(frame[name], "tolist")
                                                else list(frame[name]) for name in frame.columns))]

    def _take_rows(self, data):
        for row in data.tolist() if hasattr(data, "tolist") else data:
            self.add_data(*row)

    def add_data(self, *values):
        """Add a row: a value for each column."""
        if len(values) != len(self.columns):
            say(f"a row of {len(values)} values was added to a table of {len(self.columns)} columns",
                once=("row", len(self.columns)))
        self.data.append(list(values))

    add_row = add_data

    def add_column(self, name, data, optional=False):
        """Add a column: a value for each row."""
        data = array_of(data)
        values = data.tolist() if hasattr(data, "tolist") else list(data)
        if not self.data:
            self.columns, self.data = ([] if tuple(self.columns) == COLUMNS else self.columns,
                                       [[] for _ in values])
        self.columns.append(name)
        for row, value in zip(self.data, values):
            row.append(value)

    def add_computed_columns(self, function):
        """Add columns: function(index, row as dict) returns the new cells (dict)."""
        cells = [function(index, dict(zip(self.columns, row))) for index, row in enumerate(self.data)]
        for name in cells[0] if cells else ():
            self.add_column(name, [row.get(name) for row in cells])

    def get_column(self, name, convert_to=None):
        """Return a column (list; convert_to="numpy": an array)."""
        values = [row[self.columns.index(name)] for row in self.data]
        if convert_to == "numpy":
            return import_module("numpy").array(values)
        return values

    def get_index(self):
        """Return the rows' numbers (list of int)."""
        return list(range(len(self.data)))

    def get_dataframe(self):
        """Return a data frame of pandas."""
        return import_module("pandas").DataFrame(self.data, columns=self.columns)

    def iterrows(self):
        """Yield (number, row)."""
        yield from enumerate(self.data)

    def cast(self, *args, **kwargs):
        """Cells are of any kind."""

    set_pk = set_fk = cast

    def entry(self, media):
        """Write the rows; return {"file", "rows", "columns"}."""
        columns = [key_text(name) for name in self.columns]
        rows = [[_cell(value, media) for value in row] for row in list(self.data)]
        lines = [to_json(strict(media.masked(row))) + "\n" for row in rows]
        file = media.write("".join(lines).encode("utf-8", "replace"), "table.jsonl")
        return {"file": file, "rows": len(lines), "columns": columns}


def _cell(value, media):
    if value is None or type(value) in (int, float, bool, str):
        return value
    if isinstance(value, Medium):
        return {"type": value.type, **value.entry(media)}
    return plain(value, "a table")


class JoinedTable(Table):
    """Two tables; both are to be logged by themselves."""

    def __init__(self, table_1=None, table_2=None, join_key=None, **unknown):
        super().__init__(columns=["table 1", "table 2", "key"])
