"""What a terminal shows of the text written to it: rows and a cursor, as ECMA-48 and xterm have them, of any
width.

Gives each line out when it ends, for a log that is only appended to. Costs what the new text costs, and holds
ROWS rows.
"""

import re
from collections import deque
from functools import lru_cache

ROWS = 100                  # the screen's height: what scrolled off its top can't be changed any more
COLUMNS = 1000              # how far to the right the cursor can be sent
LONGEST_OPEN = 1 << 18      # characters of a line without end, kept in memory; then it is ended
LONGEST_CELL = 16           # a character and what combines with it
LONGEST_STYLE = 128         # characters of the colours in force
MOVES = 32                  # so many ways up are looked at to know how many rows move together
# An unfinished line this old goes to the log; with a tick of 0.5 s it is there within 1 s
QUIET_SECONDS = 0.3
FIRST_MINUTE = 60.0         # a moving line leaves one state a second this long, then one every SLOW_SECONDS
SLOW_SECONDS = 10.0
RESET = "\x1b[0m"
COLOUR = re.compile("\x1b\\[([0-9;:]*)m")
# Moves nothing: newlines, tabs and colours only
PLAIN = "{0}(?:\x1b\\[[0-9;:]*m{0})*".format("[^\0-\x08\x0b-\x1f\x7f]*")
# All but \n and \t
CONTROLS = ["\r", "\x1b", *(chr(code) for code in (*range(9), *range(11, 32), 127)
                            if chr(code) not in "\r\x1b")]
LONG_BLOCK = 4096           # characters; of one this long the lines are not taken apart
OTHER_WIDTH = ("[^\0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2030-\u205f"
               "\u2190-\u2319\u2500-\u25fc\u2800-\u28ff]")
TOKEN = ("(?P<text>[^\0-\x1f\x7f]+)"
                   "|\x1b\\[(?P<numbers>[0-9;:]{0,64})(?P<final>[@-~])"
                   # private modes and the like: nothing to see
                   "|\x1b\\[[0-?]{0,64}[ -/]{0,4}[@-~]"
                   "|\x1b[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)"                  # titles, links
                   "|\x1b[ -/]{1,4}[0-~]"                                         # character sets
                   "|\x1b(?P<escape>[0-OQ-WYZ\\\\`-~])"
                   "|[\0-\x07\x0e-\x1a\x1c-\x1f\x7f]+"                             # nothing to see
                   "|(?P<control>[\x08-\r\x1b])")
UNFINISHED = "\x1b(?:\\[[0-?]{0,64}[ -/]{0,4}|[]PX^_][^\x07\x1b\n]{0,4096}\x1b?|[ -/]{0,4})\\Z"
# When needed first: what is plain text, as most output, needs none of these
compiled = lru_cache(None)(re.compile)


def is_plain(text):
    """Whether a text has no control character but newlines and tabs."""
    return text.isprintable() or not any(map(text.__contains__, CONTROLS))


class Row:
    """One row. A wide character or a tab fills several cells, all but the first of them empty."""

    __slots__ = ("cells", "styles", "logged")

    def __init__(self, logged=None):
        self.cells, self.styles = [], []        # one text and one run of colour sequences for each column
        self.show(logged)

    def show(self, logged):
        # What the log says of this row and shows below all rows above (str or None)
        self.logged = logged

    @property
    def blank(self):
        return not "".join(self.cells).strip()

    def text(self):
        """Return the row as a line of a log (str), with colours."""
        if self.blank:
            return ""
        if not any(self.styles):
            return "".join(self.cells)
        parts, style = [], ""
        for cell, new in zip(self.cells, self.styles):
            if new != style:
                parts.append(new[len(style):] if new.startswith(style) else RESET + new)
                style = new
            parts.append(cell)
        return "".join(parts) + (RESET if style else "")

    def put(self, column, text, style):
        """Write `text` from `column` on; returns the column after it."""
        cells = self._cells(column, text) if compiled(OTHER_WIDTH).search(text) else text
        end = column + len(cells)
        self._reach(column)
        self._split(column)
        self._split(end)
        self.cells[column:end] = cells
        self.styles[column:end] = [style] * len(cells)
        return end

    def _cells(self, column, text):
        cells = []
        for char in text:
            columns = width(char)
            if columns:
                cells += [char] + [""] * (columns - 1)
            else:
                self._combine(cells if cells else self.cells[:column], char, cells)
        return cells

    def _combine(self, before, char, cells):
        i = next((i for i in range(len(before) - 1, -1, -1) if before[i]), None)
        if i is not None and len(before[i]) < LONGEST_CELL:
            (cells if cells else self.cells)[i] += char

    def tab(self, column, style):
        """Go to the next tab stop; returns its column. Beyond the row's end the tab stays in the text."""
        stop = (column // 8 + 1) * 8
        if column >= len(self.cells):
            self._reach(column)
            self.cells += ["\t"] + [""] * (stop - column - 1)
            self.styles += [style] * (stop - column)
        return stop

    def erase(self, start, end):
        """Blank the cells from `start` up to `end` (None: all that follow)."""
        if end is None or end >= len(self.cells):
            self._split(start)
            del self.cells[start:], self.styles[start:]
        else:
            self.put(start, " " * (end - start), "")

    def delete(self, column, count):
        """Take `count` cells out; what follows them moves to the left."""
        self._split(column)
        self._split(column + count)
        del self.cells[column:column + count], self.styles[column:column + count]

    def insert(self, column, count):
        """Put `count` blank cells in; what follows moves to the right."""
        if column < len(self.cells):
            self._split(column)
            self.cells[column:column] = [" "] * count
            self.styles[column:column] = [""] * count

    def _reach(self, column):
        missing = column - len(self.cells)
        if missing > 0:
            self.cells += [" "] * missing
            self.styles += [""] * missing

    def _split(self, column):
        """Blank the character that lies on both sides of a column's left edge, as terminals do when half of
        it is overwritten."""
        if not column < len(self.cells) or self.cells[column]:
            return
        start = end = column
        while start and not self.cells[start]:
            start -= 1
        while end < len(self.cells) and not self.cells[end]:
            end += 1
        self.cells[start:end] = " " * (end - start)


@lru_cache(4096)
def width(char):
    """Return how many columns a character takes (0, 1 or 2)."""
    import unicodedata
    if unicodedata.east_asian_width(char) in "WF":
        return 2
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return int(char == "\xad")
    return 1


def restyled(style, numbers):
    """Return the colours in force (str, a run of sequences) after the sequence ESC [ `numbers` m."""
    if numbers in ("", "0", "00"):
        return ""
    sequence = f"\x1b[{numbers}m"
    return sequence if numbers.startswith("0;") or len(style) > LONGEST_STYLE else style + sequence


def parsed(text, style):
    """Return (Row, style after it) of a line of plain text with colours and tabs."""
    row, column = Row(), 0
    for token in compiled(TOKEN).finditer(text):
        if token.lastgroup == "text":
            column = row.put(column, token[0], style)
        elif token.lastgroup == "final":
            style = restyled(style, token["numbers"])
        else:
            column = row.tab(column, style)
    return row, style


class Screen:
    """What one stream shows. Text of which nothing moves is passed on as it is, colours and all, and is never
    taken apart.

    A line that ended is given out at once. Where the cursor goes up, that row and those below it are open
    again, and come out anew, if they differ, once they have scrolled away above the rows that move together
    or plain lines follow below them.
    """

    def __init__(self):
        self._pieces, self._length = [], 0      # the open row, as long as it is plain text
        # The rows that may change, from the top; None: only the plain one
        self._rows = None
        self._past = deque(maxlen=ROWS)         # the lines above them
        # Rows since the beginning: above `_rows`, and above the screen
        self._base = self._top = 0
        self._row = self._column = 0            # the cursor, from `_rows[0]`
        # Colours in force: at the cursor, and where the plain row began
        self._style = self._row_style = ""
        self._saved = None
        self._unfinished = ""                   # a control sequence of which the rest is still to come
        self._ended = []
        self._new_from = 0                      # rows from here on were begun since the cursor last went up
        self._moves, self._height, self._height_before = 0, 1, 1
        self._began = None                      # monotonic, when the oldest open row began
        self._state, self._state_at = "", 0.0

    def feed(self, text, now):
        """Take what was written; returns the lines (list of str) that this ended."""
        if self._rows is None:
            line = text[:-1]
            if text[-1:] == "\n" and line.isprintable() and not self._unfinished:    # by far the commonest
                return self._plain_lines([line])
            text, self._unfinished = self._unfinished + text, ""
            is_bare = is_plain(text)        # much quicker than a match
            cut = None if is_bare else compiled(UNFINISHED).search(text)
            body = text[:cut.start()] if cut else text
            if is_bare or compiled(PLAIN).fullmatch(body):
                self._unfinished = cut[0] if cut else ""
                *lines, tail = body.split("\n")
                return (self._plain_lines(lines, is_bare) if lines else lines) + self._plain_rest(tail, now)
        ended = self._interpret(text)
        if self._rows is None:
            self._began = None
        elif self._began is None or ended and max(self._height, self._height_before) == 1:
            self._began, self._state_at = now, 0.0
        if ended:
            self._state = ""
        return ended

    def feed_block(self, text, now):
        """Take a long text of plain lines at once; returns the lines that it ended in one str, joined by
        newlines, or None where it is short, moves something or begins in a line that is more than plain: then
        `feed` takes it. Whoever is given lines says with `scroll` how many they are."""
        if len(text) < LONG_BLOCK or self._rows is not None or self._unfinished or not is_plain(text):
            return None
        lines, newline, tail = text.rpartition("\n")
        begun = "".join(self._pieces)
        if not newline or len(tail) > LONGEST_OPEN or "\x1b" in begun:
            return None
        lines = begun + lines
        self._pieces, self._length = [], 0
        self._past += lines.rsplit("\n", ROWS)[-ROWS:]
        self._began, self._state = None, ""
        self._plain_rest(tail, now)
        return lines

    def scroll(self, count):
        """Take that `count` lines (int) went by in a block."""
        self._base += count

    def _plain_lines(self, lines, is_bare=False):
        if self._pieces:
            lines[0] = "".join(self._pieces) + lines[0]
            self._pieces, self._length = [], 0
        for line in lines if not is_bare else lines[:1]:
            if "\x1b" in line:
                for numbers in ("",) if line.endswith(RESET) else COLOUR.findall(line):
                    self._row_style = restyled(self._row_style, numbers)
        self._past += lines[-ROWS:]
        self._base += len(lines)
        self._began, self._state = None, ""
        return lines

    def _plain_rest(self, text, now):
        if text:
            self._pieces.append(text)
            self._length += len(text)
            if self._began is None:
                self._began, self._state_at = now, 0.0
            if self._length > LONGEST_OPEN:
                return self._plain_lines([""])
        return []

    # -- a terminal ------------------------------------------------------------------------------------------

    def _interpret(self, text):
        if self._rows is None:
            row, self._style = parsed("".join(self._pieces), self._row_style)
            self._rows, self._row, self._column, self._new_from = [row], 0, len(row.cells), 0
            self._pieces, self._length = [], 0
        text = self._unfinished + text
        tail = compiled(UNFINISHED).search(text) if "\x1b" in text else None
        self._unfinished = tail[0] if tail else ""
        for token in compiled(TOKEN).finditer(text, 0, tail.start() if tail else len(text)):
            kind = token.lastgroup
            if kind == "text":
                self._write(token[0])
            elif kind == "final":
                self._sequence(token["final"], token["numbers"])
            elif kind == "escape":
                self._escape(token["escape"])
            elif kind == "control":
                self._control(token["control"])
        return self._settle()

    def _write(self, text):
        row = self._rows[self._row]
        self._column = row.put(self._column, text, self._style)
        if len(row.cells) > LONGEST_OPEN:
            self._go(self._row + 1, 0)

    def _control(self, char):
        if char in "\n\v\f":
            self._go(self._row + 1, 0)
        elif char == "\r":
            self._column = 0
        elif char == "\b":
            self._column = max(0, self._column - 1)
        elif char == "\t":
            self._column = self._rows[self._row].tab(self._column, self._style)

    def _escape(self, final):
        if final == "7":
            self._saved = (self._base + self._row, self._column, self._style)
        elif final == "8" and self._saved:
            row, column, self._style = self._saved
            self._go(row - self._base, column)
        elif final in "DEM":
            self._go(self._row + (-1 if final == "M" else 1), 0 if final == "E" else self._column % COLUMNS)

    def _sequence(self, final, numbers):
        if final == "m":
            self._style = restyled(self._style, numbers)
            return
        code, second = ([int(number) if number.isdigit() else 0 for number in numbers.split(";")] + [0])[:2]
        count = min(max(1, code), COLUMNS)
        row, column = self._row, self._column
        if final in "AF":
            self._go(row - count, 0 if final == "F" else column)
        elif final in "BEe":        # further down than any screen: its last row
            self._go(row + count if count < ROWS else max(row, len(self._rows) - 1),
                     0 if final == "E" else column)
        elif final in "CDa":
            self._column = max(0, min(column + (-count if final == "D" else count), max(column, COLUMNS)))
        elif final in "G`":
            self._column = count - 1
        elif final in "Hfd":
            top = self._screen_top() - self._base
            self._go(top + min(count, ROWS) - 1, column if final == "d" else min(max(1, second), COLUMNS) - 1)
        elif final == "K":
            code = 2 if code == 1 and column >= COLUMNS else code
            self._rows[row].erase(*((column, None), (0, column + 1), (0, None), (0, 0))[min(code, 3)])
            # a terminal has wrapped by then
            self._column = column % COLUMNS if code == 2 else column
        elif final == "J":
            self._erase_display(code)
        elif final == "X":
            self._rows[row].erase(column, column + count)
        elif final == "P":
            self._rows[row].delete(column, count)
        elif final == "@":
            self._rows[row].insert(column, count)
        elif final in "su":
            self._escape("7" if final == "s" else "8")

    def _erase_display(self, mode):
        above, below = mode in (1, 2), mode in (0, 2)
        if above:
            self._reopen(self._base - self._screen_top())
            for row in self._rows[:self._row]:
                row.erase(0, None)
        if above or below:
            self._rows[self._row].erase(*((0, None) if mode == 2 else (self._column, None) if below
                                          else (0, self._column + 1)))
        if below:
            del self._rows[self._row + 1:]
        if mode == 2:
            self._column %= COLUMNS

    def _screen_top(self):
        self._top = max(self._top, self._base + len(self._rows) - ROWS)
        return self._top

    def _go(self, row, column):
        """Put the cursor there. Above the rows that are open it opens the lines of the past, below them it
        begins new ones."""
        row = max(row, self._screen_top() - self._base)
        if row < 0:
            self._reopen(-row)
            row = 0
        while row >= len(self._rows):
            self._rows.append(Row())
        if row < self._row:
            self._new_from = len(self._rows)
            self._moves += 1
            if self._moves % MOVES == 0:
                self._height_before, self._height = self._height, 1
            self._height = max(self._height, len(self._rows) - row)
        self._row, self._column = row, column
        if len(self._rows) > 2 * ROWS:
            self._give_out(len(self._rows) - ROWS)

    def _reopen(self, count):
        lines = [self._past.pop() for _ in range(min(count, len(self._past)))]
        for line in lines:
            row = parsed(line, "")[0]
            row.show(line)
            self._rows.insert(0, row)
        self._base -= len(lines)
        self._row += len(lines)
        self._new_from += len(lines)

    # -- lines -----------------------------------------------------------------------------------------------

    def _settle(self):
        """Decide which rows are done; returns the lines that ended."""
        rows = self._rows
        while len(rows) - 1 > self._row and rows[-1].blank:
            rows.pop()
        last = len(rows) - 1
        self._new_from = min(self._new_from, len(rows))
        # a plain line was written below what moved
        if self._row == last > self._new_from and not rows[last].cells:
            self._height = self._height_before = 1
        over = min(self._row, len(rows) - max(self._height, self._height_before))
        if over > 0:
            self._give_out(over)
        if len(rows) == 1 and not rows[0].cells and rows[0].logged is None and self._column == 0:
            self._rows, self._row_style = None, self._style
        ended, self._ended = self._ended, []
        return ended

    def _give_out(self, count):
        """The first `count` rows are over. The log gets those that it does not show yet, and then all below
        them, to keep their order."""
        before = len(self._ended)
        for row in self._rows[:count]:
            line, logged = row.text(), row.logged if len(self._ended) == before else None
            self._past.append(line)
            # a line that was erased says nothing more
            if line != logged and (line or logged is None):
                self._ended.append(line)
        del self._rows[:count]
        for below in self._rows if len(self._ended) > before else ():
            below.show(None)
        self._base += count
        self._row -= count
        self._new_from = max(0, self._new_from - count)

    @property
    def is_moving(self):
        """Whether rows are open that are more than plain text."""
        return self._rows is not None

    def resting(self):
        """Return the lines (list of str) that moved and stand above an empty row with the cursor: all that
        was to be shown is shown."""
        if self._rows is None or self._row < len(self._rows) - 1 or self._rows[-1].cells:
            return []
        self._give_out(self._row)
        ended, self._ended = self._ended, []
        return ended

    def states(self, now):
        """Return the open line that moved (list of one str, or none), when it is time to log it: of several
        rows the last."""
        if self._began is None or now - self._began < QUIET_SECONDS:
            return []
        if now - self._state_at < (1.0 if now - self._began < FIRST_MINUTE else SLOW_SECONDS):
            return []
        if self._rows is None:
            state = "".join(self._pieces)
        else:
            moved = ((row.text(), row.logged) for row in reversed(self._rows))
            state = next((line for line, logged in moved if line and line != logged), "")
        if not state or state == self._state:
            return []
        self._state, self._state_at = state, now
        return [state]

    def end(self):
        """Return the lines still open (list of str): the stream is over."""
        if self._rows is None:
            lines = ["".join(self._pieces)] if self._pieces else []
        else:
            while self._rows and self._rows[-1].blank:
                self._rows.pop()
            self._give_out(len(self._rows))
            lines = self._ended
        self.__init__()
        return lines
