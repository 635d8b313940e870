"""Tables of a dataset, to be compared."""

from later import Later

arrow_dataset = Later("pyarrow.dataset")


def rows_of(folder):
    """Return the rows of a table in no order, but a sorted one; NaN as text, so that equal rows are equal."""
    table = arrow_dataset.dataset(folder, format="parquet", partitioning=None).to_table().to_pylist()
    return sorted([tuple("NaN" if value != value else repr(value) for value in row.values())
                   for row in table])
