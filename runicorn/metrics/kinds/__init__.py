"""One module a kind of file that metrics come in: our own events, and what other loggers write. Each has a
`Reader`, which turns the bytes of one growing file, handed over in order, into rows, and knows nothing of
folders and runs. May import ground and `metrics.parse`. Begin with `events`, the simplest; `metrics.readers`
has the table of them all."""
