"""What the server itself says of its whole root: by python3 there, else by its manifest files. Lists no
folder of a run."""

import contextlib

from runicorn import layout, manifest
from runicorn.errors import LineError, ProtocolError, SftpError
from runicorn.mirror import manifest_stream, remote_index
from runicorn.mirror.unsettled import Moment
from runicorn.ssh import sftp, sftp_answers

FRESH = 900.0                   # s; an older manifest is a hint only
AGAIN = 600.0                   # s after python3 on the server failed to answer until it is asked again
REFUSED = "runs in the manifest whose paths no run can have"
HOME = "."                      # where SFTP begins: as a rule the user's own folder
YEARS = 10 * 365 * 86400.0      # s; no manifest of ours is older


class RunList:
    """The list of one session. What it says goes into `index`; `source` is "exec" or "manifest", None while
    nothing told; `fresh`: a manifest file told of every run as it was less than FRESH ago; `manifest_made`:
    when the one read last was made, by our clock, s."""

    def __init__(self, options, remote, client, root, index, copies, recheck, log, wall, look):
        """copies: copies.Copies; wall: clock.Clock.wall; look: exec_look.ExecLook, which may be under way."""
        self._wall = wall
        self.options, self.remote, self.client, self.root, self.log = options, remote, client, root, log
        self.index, self.copies, self.recheck = index, copies, recheck
        self.source, self.manifest_made, self.fresh = None, None, False
        self._exec, self._answered = look, False
        self._read = {}                 # path of a manifest -> (its mtime, its size) when we read it
        self._looked_for_others = False         # the manifest read last tells of runs of other loggers, too
        # Of the one read last: when it was made (s there), whether it told of every run
        self._made_at, self._tells_all = None, False
        self._refused_at = None         # when python3 on the server failed to answer last (Unix s)
        # Runs of other loggers whose files changed since python3 there looked before
        self._grown = set()
        self._replan = set()            # runs whose entries were taken since the last plan
        self._hearsay = set()           # runs that only a manifest file spoke of, since the last listing
        self._owners = {}               # path of `places_of_owners` -> its Attrs
        self.refused = {}               # {reason: count} of entries in what was read last that are of no run

    # -- what it told

    def speaks_of(self, path):
        """Whether a manifest file spoke of the run first and nobody listed it since (bool)."""
        return path in self._hearsay and path not in self.index.foreign

    def unlooked(self, paths):
        """Return those of `paths` (set) of whose files only an index of ours or a manifest file told, so far
        as the list knows."""
        return (set() if self.source == "exec" else paths) | self._hearsay

    def seen(self, paths):
        """Return those of `paths` (set) that python3 on the server saw at its last look (set)."""
        return paths & self._exec.stamps.keys() if self._answered else set()

    def take_hearsay(self):
        """Return the runs that only a manifest file spoke of (set); the caller looks at them now."""
        hearsay, self._hearsay = self._hearsay, set()
        return hearsay

    @property
    def new(self):
        """The runs whose entries were taken since `take_new` (set)."""
        return self._replan & self.index.lines.keys()

    def take_new(self):
        """Return the runs whose entries were taken since last asked (set)."""
        new, self._replan = self.new, set()
        return new

    @property
    def had_files(self):
        """Whether an earlier session, or this one, read a manifest file (bool)."""
        return bool(self._read)

    @property
    def tells_foreign(self):
        """Whether the server itself tells of all runs of other loggers (bool)."""
        return self.fresh and self._looked_for_others

    def take_grown(self):
        """Return the runs of other loggers whose files changed as python3 on the server saw, since last asked
        (set)."""
        grown, self._grown = self._grown & self.index.lines.keys(), set()
        return grown

    def forget(self):
        """Ask and read everything anew."""
        self.source = None
        self._read.clear()

    @property
    def every(self):
        """Return the seconds from one look by python3 on the server to the next (float)."""
        return max(0.0, self._exec.next - self._exec.began) if self._exec.began is not None else 0.0

    # -- python3 on the server

    def ask(self, now):
        """Begin to ask python3 on the server, unless it is known not to answer; returns whether an answer is
        to be taken."""
        if self.remote.exec_allowed is not False and self._refused_at is None:
            self._exec.start(self.index.flush().lines, now)
        return self._exec.started

    # -- from one session to the next

    def told(self, digest):
        """Return what `resume` takes (dict): which manifest files were read into the index of this digest,
        and whether python3 answers."""
        return {"digest": digest, "read": self._read, "made": self._made_at, "whole": self._tells_all,
                "refused": self._refused_at, "foreign": self._looked_for_others,
                "server_time": self.server_time, "root": self.root}

    def resume(self, earlier, digest, now):
        """Take up what an earlier session told, or something that only looks like it. digest: of the index
        that is here."""
        if not isinstance(earlier, dict):
            return
        refused, made_at, read = earlier.get("refused"), earlier.get("made"), earlier.get("read")
        if manifest.is_number(refused) and is_recent(refused, self._wall(now)):
            self._refused_at = refused
        if (earlier.get("digest") == digest and self.index.lines and manifest.is_number(made_at)
                and isinstance(read, dict)):
            self._read = {path: tuple(stamp) for path, stamp in read.items() if isinstance(stamp, list)}
            self._made_at, self._tells_all = made_at, earlier.get("whole") is True
            self._looked_for_others = earlier.get("foreign") is True

    @property
    def server_time(self):
        """Return what the server's clock showed at the last look by python3 there (Unix s), None when nobody
        knows."""
        return self._exec.server_time

    @property
    def asking(self):
        """Whether the answer is not here yet (bool)."""
        return self._exec.busy

    def take_answer(self, patience=None):
        """Take what python3 on the server answered, waiting for it (`patience` s at most); returns whether it
        did."""
        if patience is not None and not self._exec.wait(patience):
            return False                # taken by a later `look`: a command may hang, SFTP goes on
        began = self._exec.began
        try:
            changed, absent = self._exec.take(self.options.get("interval", 30.0))
        except (SftpError, manifest.ManifestError) as error:
            return self._refused(error)
        except (LineError, ProtocolError) as error:
            if self.remote.alive:
                # a line that lives grants one channel only, or the command printed without end
                return self._refused(error)
            raise
        self.copies.unsettled.hear(self._exec.server_time)
        self._take(changed, now=True)
        self.copies.doubtful.update(path for path in absent if path in self.index)
        self.recheck.note([path for path in self._exec.stamps
                           if path in self.index and path not in self.copies.doubtful], began)
        self.source, self._answered, self._refused_at = "exec", True, None
        return True

    def _refused(self, error):
        self.log.info("no list by python3 on the server: %s", error)
        self._exec.leave(AGAIN)
        self._refused_at = self._wall(self._exec.began)
        self.source = None if self.source == "exec" else self.source
        return False

    def look(self, now, at_once):
        """Have python3 on the server look at everything where it did before and that is due; take an answer
        that is here.

        at_once: begin unless a look began in the last second, and wait for the answer.
        """
        if not self.options.get("manifest", True):
            return
        if (not self._answered and self._refused_at is not None
                and not is_recent(self._refused_at, self._wall(now))):
            self._refused_at = None
            self.ask(now)
        at_once = at_once and self._answered and now > self._exec.began + 1
        if self._answered and (at_once or now >= self._exec.next):
            self._exec.start(self.index.flush().lines, now)
        if self._exec.started and (at_once or not self._exec.busy):
            self.take_answer()

    # -- its manifest files

    def read(self, stats, now):
        """Read the active manifest if it moved, and the full one where that does not give us the whole root.

        stats: {absolute path: Attrs or SftpError} with the manifests' LSTATs.
        """
        newest = {}
        for kind, path in remote_index.manifest_files(self.root):
            attrs = stats.get(path)
            if attrs is None or sftp.refusal(path, attrs):
                continue
            trouble = self._objection(attrs, stats)
            if not trouble:
                newest[kind] = max(newest.get(kind, (-1, -1, "")), (attrs.mtime or 0, attrs.size or 0, path))
            elif self._read.get(path) != (attrs.mtime, attrs.size):
                self._read[path] = attrs.mtime, attrs.size
                self.log.warning("the server's manifest is of no use: %s %s", path, trouble)
        moved = {kind: (mtime, path) for kind, (mtime, size, path) in newest.items()
                 if self._read.get(path) != (mtime, size)}
        complete = (manifest.ACTIVE in moved and bool(self.index.lines)
                    and self._by_file(*moved[manifest.ACTIVE], stats, now))
        if manifest.FULL in moved and not complete:
            self._by_file(*moved[manifest.FULL], stats, now)
        self._read.update({path: (mtime, size) for mtime, size, path in newest.values()})
        if newest and self._made_at is not None:
            self.source = self.source or "manifest"
            if self.manifest_made is None:      # read by an earlier session
                self.manifest_made = now - max(0.0, self._wall(now) - max(newest.values())[0])
            self.fresh = self._tells_all and self._wall(now) - self._made_at < FRESH

    def places_of_owners(self):
        """Return what is LSTATed beside the manifests, once a line, as it tells whose they may be (list of
        str)."""
        return [self.root, f"{self.root}/{layout.HIDDEN}", HOME]

    def _objection(self, attrs, stats):
        """Return why a manifest file of these Attrs is not read (str), None if it is.

        Where anybody may write, anybody may say anything of runs that are not theirs: there it must be the
        root's owner's, ours, or root's.
        """
        if (attrs.size or 0) > manifest.LIMIT:
            return f"is larger than {manifest.LIMIT >> 20} MB"
        self._owners.update((path, stats[path])
                            for path in self.places_of_owners()
                            if isinstance(stats.get(path), sftp_answers.Attrs))
        root, folder, home = map(self._owners.get, self.places_of_owners())
        is_open = any(status and (status.mode or 0) & 0o002 for status in (root, folder))
        owners = {0, *(status.uid for status in (root, home) if status)}
        if not is_open or attrs.uid is None or attrs.uid in owners:
            return None
        return f"is another user's (uid {attrs.uid}), in a folder that all may write to"

    def _by_file(self, mtime, path, stats, now):
        """Read a manifest; returns whether the index now has its digest."""
        try:
            with contextlib.closing(self.client.read_pieces(path, manifest.LIMIT, stats[path])) as pieces:
                listed = manifest_stream.read(pieces, path)
        except (SftpError, manifest.ManifestError) as error:
            self.log.warning("the server's manifest is of no use: %s", error)
            return False
        new, made_at, wall = self._take(listed), listed.header["generated_at"], self._wall(now)
        self.copies.contents.take_manifest([path
                                            for path in new if remote_index.is_proof(listed.lines[path])],
                                           min(made_at, wall))
        self.source = self.source or "manifest"
        # Its own time is the server's
        self.manifest_made = now if path in self._read else now - max(0.0, self._wall(now) - mtime)
        # It did not look for those
        unlisted = () if listed.header.get("foreign") is True else self.index.foreign
        lines = self.index.flush().lines
        complete = remote_index.index_digest(lines, unlisted) == listed.header["digest"]
        proving = ({path: line for path, line in lines.items() if path not in unlisted} if complete
                   else listed.lines)
        proven = [path for path in proving if path in lines and (complete or lines[path] == proving[path])
                  and remote_index.is_proof(lines[path])]
        if wall - YEARS < made_at:
            moment = min(now, now + made_at - wall)
            self.recheck.note([path for path in proven if self.recheck.times.get(path, 0.0) < moment], moment)
            self._looked_for_others = listed.header.get("foreign") is True
            self._made_at, self._tells_all = made_at, len(proven) == len(lines) - len(unlisted)
        return complete

    def _take(self, listed, now=False):
        """Take a Manifest into the index; returns the run paths taken. now: it shows this very moment."""
        new = ()
        if listed:
            new, refused = remote_index.adopt(self.index, listed, self.copies.doubtful,
                                              self.copies.rewrite if now else None, self._grown)
            self.refused = {REFUSED: refused} if refused else {}
        for path in listed.lines.keys() & self.copies.left_out.closed_runs if now and listed else ():
            if path not in self.copies.doubtful:
                self.copies.left_out.set_folders(path, ())
        if now:
            began = self._exec.began
            self.copies.contents.take_look(new, Moment(began, self._exec.server_time, self._wall(began)))
        self._replan.update(new)
        self._hearsay.update(() if now else new)
        return new


def is_recent(refused, wall):
    """Whether python3 on the server failed to answer so lately (Unix s or None) that it is not asked at
    `wall` (Unix s)."""
    return refused is not None and 0 <= wall - refused < AGAIN
