"""What a first picture of a huge file is made of: whole records out of pieces of it. Opens no file."""


class Sampled:
    """For readers: `grid`, `records` and `framed` are what metrics.samples asks them for. Here records are
    lines, one after the other."""

    grid = 1                    # pieces begin at multiples of this (bytes); 0: there is no sample

    @staticmethod
    def records(piece, is_first):
        """Return the whole records in a piece of a file (list of bytes); is_first: whether the file begins
        with it."""
        return [line + b"\n" for line in piece.split(b"\n")[not is_first:-1]]

    @staticmethod
    def framed(records):
        """Return the bytes of a file of these records."""
        return b"".join(records)
