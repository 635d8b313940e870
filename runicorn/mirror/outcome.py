"""What comes of a fetch."""

import enum


class Outcome(enum.Enum):
    """What came of a fetch, where it was no refusal: of the server, or of this disk for this file alone."""

    DONE = "done"
    CHANGED = "changed"             # what we hold or were told is not what the server has
    SHORT = "short"                 # the server's file ends before the size we were told
    UNWANTED = "unwanted"           # it was given up
    NO_ROOM = "no room"             # there is none for it here
    DISK = "disk"                   # this disk takes nothing any more
    LOST = "lost"                   # the second line took it down with it
