"""Turn TensorBoard's event files into rows: scalars of version 1 (`simple_value`) and 2 (tensors of the
plugin "scalars"). Opens no file.

One record is one row, as many records as can be are read at once (`scalar_records`), the others field by
field; both give the same. A record whose data is damaged is skipped and counted; behind damage the next
record with a right head is looked for. Images, histograms and audio are counted. Formats:
tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto.
"""

import math
import struct
from array import array
from bisect import bisect_left

from runicorn.metrics.kinds.crc32c import HEAD, TAIL, WIDEST, crc32c, masked, wrong
from runicorn.metrics.kinds.event_records import PLUGINS, SCALARS, Events, large_media
from runicorn.metrics.kinds.names import Names
from runicorn.metrics.kinds.protobuf import text
from runicorn.metrics.kinds.purges import VERSION, Purges
from runicorn.metrics.kinds.sampled import Sampled
from runicorn.metrics.kinds.scalar_records import WORTH, split
from runicorn.metrics.kinds.tfrecords import Heads
from runicorn.metrics.parse import Part

BATCH = 32_768              # records taken apart at once
# bytes; the beginning of a longer record says whether there is more in it than one picture
LARGE = 4096
PEEK = 2048                 # bytes of that beginning
LONGEST = (16 << 20) - LARGE    # bytes of a record that is read whole
APPLE_DOUBLE = b"\0\5\x16\7"    # what macOS puts beside files on a foreign disk
NEWEST = VERSION + "2"
# What stands at the position: a record, something damaged, no events at all
RECORDS, SEARCH, FOREIGN = "records", "search", "foreign"


def is_kind(name, head):
    """Whether a file is TensorBoard's. name: without its folder; head: its first 4,096 bytes, all of a
    shorter file."""
    if "tfevents" not in name or name.startswith("._") or head.startswith(APPLE_DOUBLE):
        return False
    return not head.strip(b"\0") or len(head) < HEAD or Heads().next(head, 0) >= 0


class Reader(Sampled):
    """Reads one event file: `take` its bytes in order. Rows are numbered by record. For one thread at a time.

    Points that a restart supersedes stay in the rows; `facts()["purges"]` names them. A file without a
    version that follows another one of its folder is judged by its own steps only.
    """

    kind = "tensorboard"

    def __init__(self, state=None):
        """state: what `state` returned, also after JSON, to go on behind it."""
        state = state or {}
        self._row, self._ts, self._mode, self._started = map(state.get, ("row", "ts", "mode", "started"),
                                                             (0, 0.0, None, None))
        self.skipped = dict(state.get("skipped", ()))
        self._tags = Names(state.get("tags", ()))
        self._events = Events(self._tags, self._skip, state.get("events"))
        self._purges, self._heads = Purges(state.get("purges")), Heads()

    def state(self):
        """Return all that is needed to go on (dict for JSON)."""
        return {"row": self._row, "ts": self._ts, "mode": self._mode, "started": self._started,
                "skipped": dict(self.skipped), "tags": list(self._tags), "events": self._events.state(),
                "purges": self._purges.state()}

    def facts(self):
        """Return what else the file says: config, texts, started, counts, purges, restarts; only what is
        known."""
        events = self._events
        facts = {"config": dict(events.config), "texts": dict(events.texts), "started": self._started,
                 "counts": dict(events.counts), "restarts": self._purges.restarts}
        return {"purges": self._purges.list(), **{name: value for name, value in facts.items() if value}}

    # -- a sample of a huge file (see metrics.samples) -------------------------------------------------------

    @staticmethod
    def records(piece, is_first):
        """Return the whole records in a piece of a file (list of bytes), from the first head in it on."""
        heads, records = Heads(), []
        position = heads.next(piece, 0)
        while position >= 0 and len(piece) >= position + HEAD:
            size = heads.size(piece[position:position + HEAD])
            if not size or position + size > len(piece):
                break
            records.append(piece[position:position + size])
            position += size
        return records

    # -- bytes to records ------------------------------------------------------------------------------------

    def take(self, block, remaining):
        """Return (bytes used, list of Parts). block: bytes from the position on; remaining: bytes from there
        to the file's end.

        0 used: no whole record in `block`, come again with more. More than `block` holds: a picture is passed
        over unread.
        """
        position, parts, most = 0, [], BATCH
        if self._mode is None:
            if len(block) < HEAD:
                return 0, parts
            self._mode = FOREIGN if block.startswith(APPLE_DOUBLE) else RECORDS
        while self._mode != FOREIGN:
            if self._mode == SEARCH:
                head = self._heads.next(block, position)
                if head < 0:
                    return max(position, len(block) - HEAD + 1), parts
                position, self._mode = head, RECORDS
            batch, behind = self._walk(block, position, most)
            if not batch:
                batch, behind = self._special(block, position, remaining)
                if behind == position:
                    return position, parts
            resume = None
            if batch:
                points, resume = self._batch(block, batch)
                parts += points
                # few: what follows is read once more
                most = 8 if resume is not None else min(BATCH, 2 * most)
            if resume is not None:
                self._mode = SEARCH
            position = behind if resume is None else resume
        return len(block), parts

    def _walk(self, block, position, most):
        """Return ([(place, size) of each whole record from `position` on], the place behind): at most `most`,
        none of them large."""
        sizes, batch, end = self._heads.sizes, [], len(block)
        while len(batch) < most:
            head = block[position:position + HEAD]
            size = sizes.get(head) or len(head) == HEAD and self._heads.size(head)
            if not size or size > LARGE or position + size > end:
                break
            batch.append((position, size))
            position += size
        return batch, position

    def _special(self, block, position, remaining):
        """Return ([(place, size)] of a large record to be read, else [], the place behind what stands at
        `position`); that itself: wait for more."""
        head = block[position:position + HEAD]
        if len(head) < HEAD:
            return [], position
        size = self._heads.size(head)
        if not size:
            zeros = HEAD - len(head.lstrip(b"\0"))
            if 0 < zeros < HEAD and len(block) < position + 2 * HEAD:
                # a few NULs and then a head, or a damaged one: not to be told yet
                return [], position
            if not zeros or zeros < HEAD and not 0 < self._heads.next(block[position:position
                                                                            + 2 * HEAD], 0) <= zeros:
                self._damage("damaged heads")
            self._mode = SEARCH
            return [], position + 1
        beginning = block[position + HEAD:position + HEAD + PEEK]
        if position + size > remaining or size <= LARGE or len(beginning) < PEEK:
            return [], position
        media = large_media(beginning, size - HEAD - TAIL, self._events.plugins)
        if media:
            step, summary, name = media
            self._events.count(name)
            self._purge([], [(self._row, "event", (step, summary))])
            self._row += 1
            return [], position + size
        if size > LONGEST:
            self._skip("records over 16 MB")
            self._row += 1
            return [], position + size
        return ([(position, size)], position + size) if position + size <= len(block) else ([], position)

    def _batch(self, block, batch):
        """Return (Parts of the records, None, or the place from which to look for a head: there a record is
        damaged)."""
        groups, damaged = _by_size(block, batch), []
        for size, (frames, indices) in groups.items():
            if _in_bulk(size, indices):
                damaged += [indices[position] for position in wrong(frames, size)]
            else:
                damaged += [indices[position] for position, frame in enumerate(_frames(frames, size))
                            if struct.pack("<I", masked(crc32c(frame[HEAD:-TAIL]))) != frame[-TAIL:]]
        resume = None
        if damaged:
            batch, resume = self._without(block, batch, sorted(damaged))
            groups = _by_size(block, batch)
        if self._started is None:
            self._started = next(filter(math.isfinite, _times(block, batch)), None)
        parts = self._parts(groups)
        self._settle_times(parts)
        parts = self._admitted(parts)
        self._purge(parts, self._events.marks)
        self._row += len(batch) + len(self._events.extra)
        return parts, resume

    def _without(self, block, batch, damaged):
        """Return (the batch without damaged records, None, or the place to go on from). A torn record has
        swallowed others, so the next head is looked for in its data; where it is none of the batch's own, the
        batch ends."""
        for count, index in enumerate(damaged, 1):
            self._damage("damaged records", index == count - 1)
            position, size = batch[index]
            if self._heads.next(block, position + HEAD) != position + size:
                dropped = set(damaged[:count])
                return ([record for offset, record in enumerate(batch[:index]) if offset not in dropped],
                        position + HEAD)
        dropped = set(damaged)
        return [record for offset, record in enumerate(batch) if offset not in dropped], None

    # -- records to rows -------------------------------------------------------------------------------------

    def _parts(self, groups):
        """Return the Parts of records; `groups` as `_by_size` has them."""
        pieces, alone, events = [], [], self._events
        events.begin(self._row)
        for size, (frames, indices) in groups.items():
            others = range(len(indices))
            if _in_bulk(size, indices):
                alike, others = split(frames, size)
                pieces += [(shape, [indices[position] for position in places], piece, size)
                           for shape, places, piece in alike]
            alone += [(indices[position], frames[position * size + HEAD:(position + 1) * size - TAIL])
                      for position in others]
        for index, data in sorted(alone):
            events.read(index, data)
        parts = events.parts()
        for shape, indices, frames, size in pieces:
            rows = ([events.row(index) for index in indices] if events.extra
                    else [self._row + index for index in indices])
            parts += self._scalars(shape, rows, frames, size)
        return parts

    def _scalars(self, shape, rows, frames, size):
        """Yield the Parts of plain records (bytes) that fit `shape`."""
        ts, steps, columns = shape.numbers(frames, size)
        if len(columns) > 1:
            yield Part(tuple(text(frames[begin:end]) for begin, end, _, _ in shape.values), rows, ts, steps,
                       columns)
            return
        tags = shape.tags(frames, size)
        if isinstance(tags, bytes):
            groups = {tags: None}
        else:
            groups = {}
            for position, tag in enumerate(tags):
                groups.setdefault(tag, []).append(position)
        for tag, places in groups.items():
            tag = text(tag)
            if shape.tensor:
                places = self._scalar_places(tag, places or range(len(rows)), rows)
                if not places:
                    continue
            part = (rows, ts, steps, columns[0])
            if places is not None and len(places) < len(rows):
                part = [[column[position] for position in places] for column in part]
            yield Part((tag,), part[0], part[1], part[2], [array("d", part[3])])

    def _scalar_places(self, tag, places, rows):
        """Return those of the places in `rows` of a tensor's numbers that are scalars: its plugin says so,
        from the row where it stands."""
        plugin = self._events.plugins.get(tag)
        since = self._events.learned.get(tag, -1)
        settled = [position for position in places if rows[position] > since] if plugin is not None else []
        self._events.count("tensors", len(places) - len(settled))
        if plugin == SCALARS:
            return settled
        self._events.count(PLUGINS.get(plugin, "tensors"), len(settled))
        return []

    def _settle_times(self, parts):
        """Give a point whose time is no number that of the row before."""
        if all(math.isfinite(sum(part.ts)) for part in parts):
            if parts:
                self._ts = max((part.rows[-1], part.ts[-1]) for part in parts)[1]
            return
        places = [(row, index, position) for index, part in enumerate(parts)
                  for position, row in enumerate(part.rows)]
        for _, index, position in sorted(places):
            ts = parts[index].ts
            if math.isfinite(ts[position]):
                self._ts = ts[position]
            else:
                ts[position] = self._ts

    def _admitted(self, parts):
        """Return the Parts without tags beyond the limits; which tags come first decides."""
        fresh = {}
        for part in parts:
            for position, name in enumerate(part.names):
                if name not in self._tags:
                    fresh[name] = min(fresh.get(name, (part.rows[0], position)), (part.rows[0], position))
        refused = {name for name in sorted(fresh, key=fresh.get) if not self._tags.admit(name)}
        if not refused:
            return parts
        admitted = []
        for part in parts:
            places = [position for position, name in enumerate(part.names) if name not in refused]
            self._skip("values of too many tags", len(part.rows) * (len(part.names) - len(places)))
            if places:
                columns = part.columns
                admitted.append(Part(tuple(part.names[position] for position in places), part.rows, part.ts,
                                     part.steps, [columns[position] for position in places]))
        return admitted

    def _purge(self, parts, marks):
        """Tell the purges what a batch holds, in the order of the rows."""
        if not self._purges.old and all(mark != "version" for _, mark, _ in marks):
            for row, mark, step in marks:
                if mark == "start":
                    self._purges.start(row, step)
            return
        points, position, since = None, 0, -1
        # Of a record whose first row purged already
        again = {row for row, mark, _ in marks if mark == "extra"}
        for row, mark, value in [*marks, (math.inf, None, None)]:
            if self._purges.old:
                if points is None:
                    points = sorted((row, step, part.names) for part in parts
                                    for row, step in zip(part.rows, part.steps))
                position = bisect_left(points, (since,), position)
                while position < len(points) and points[position][0] < row:
                    if points[position][0] not in again:
                        self._purges.event(*points[position], True)
                    position += 1
            since = row
            if mark == "version":
                self._purges.declare(value)
            elif mark == "start":
                self._purges.start(row, value)
            elif mark == "event" and self._purges.old:
                self._purges.event(row, value[0], (), value[1])

    # -- what is counted -------------------------------------------------------------------------------------

    def _damage(self, reason, is_first=True):
        """Count what is damaged. is_first: nothing of the batch could be read before."""
        self._skip(reason)
        if is_first and not self._row and self._purges.version is None:
            self._purges.declare(NEWEST)        # that may be what is damaged, and version 1 is of before 2015

    def _skip(self, reason, count=1):
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count


def _times(block, batch):
    """Yield the wall times (s) of records that begin with it, as those of every writer do."""
    for position, size in batch:
        if block[position + HEAD] == 9 and size >= HEAD + 9 + TAIL:
            yield struct.unpack_from("<d", block, position + HEAD + 1)[0]


def _in_bulk(size, indices):
    return len(indices) >= WORTH and size <= WIDEST


def _frames(frames, size):
    return [frames[position:position + size] for position in range(0, len(frames), size)]


def _by_size(block, batch):
    """Return {size: (its records one after the other, their places in the batch)}."""
    groups = {}
    for index, (position, size) in enumerate(batch):
        groups.setdefault(size, ([], []))[0].append(block[position:position + size])
        groups[size][1].append(index)
    return {size: (b"".join(frames), indices) for size, (frames, indices) in groups.items()}
