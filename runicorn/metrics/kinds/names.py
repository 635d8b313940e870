"""The names of the metrics of one foreign file, as many as anybody has: a hostile file has more. Holds no
values."""

MOST, MOST_BYTES = 20_000, 4 << 20         # names, and their UTF-8 together


class Names:
    """The names that are admitted."""

    def __init__(self, names=()):
        self._names = dict.fromkeys(names)
        self._bytes = sum(map(_size, self._names))

    def __contains__(self, name):
        return name in self._names

    def __iter__(self):
        return iter(self._names)

    def admit(self, name):
        """Whether the metric may have points (bool)."""
        if name in self._names:
            return True
        if len(self._names) >= MOST or self._bytes + _size(name) > MOST_BYTES:
            return False
        self._names[name] = None
        self._bytes += _size(name)
        return True


def _size(name):
    return len(name.encode("utf-8", "replace"))
