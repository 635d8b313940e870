"""The connection test: goes the whole way to the runs and says at each step what is so, or what to do. Writes
nothing there."""

from __future__ import annotations

import collections
import re
import statistics
import time
from typing import TYPE_CHECKING

from runicorn import foreign, layout, left_out, local_names, manifest, namesake, rules
from runicorn.errors import DeniedError, RemoteError, RunicornError, SftpError
from runicorn.mirror import folder_lister, walk
from runicorn.mirror.foreign_walk import ForeignWalk
from runicorn.ssh import remote, remote_shell, sftp, sftp_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from runicorn.ssh.sftp import Sftp

LINES = ("name", "port", "jump", "banner", "host_key", "login", "sftp", "exec", "namesake", "root", "runs",
         "manifest", "clock", "rtt", "throughput")
LOGIN_CODES = ("login", "key_missing", "key_format", "passphrase", "agent", "no_answer", "missing", "refused")
USUAL_ROOTS = ("~/.runicorn/experiments", "~/experiments")
MANIFESTS = (manifest.FULL, f"{manifest.FULL}.gz")
OLD_MANIFEST = 900          # s, as DESIGN's mirror has it: an older one only counts where folders still agree
# For a command to end; what takes longer is of use to a mirror all the same, and nobody waits here
EXEC_SECONDS = 5
SKEW_SECONDS = 60           # below this nobody notices
WIDEST = 5000               # folders at one level; more is some other tree, not a root
BROWSE_SECONDS = 4.0        # for counting runs in the folders of one level and in what lies within them
BROWSE_OTHERS = 0.5         # … for counting other loggers' runs in one of them
OTHERS_SECONDS = 5.0        # for counting those below the root
# Below a folder that are looked through: ~/.runicorn/experiments is two below home
BROWSE_LEVELS = 2
COUNTED_FOLDERS = 30        # while browsing, counting runs in more folders than these would take too long
# What an id begins with where nobody chose it; of folders with other names so many are looked into, to see
# whose they are
TIMED, DOUBTFUL = re.compile(r"/\d{8}_\d{6}_[^/]+$"), 1000
SPEED_BYTES, SPEED_SECONDS = 8 << 20, 2
# Which line an error's code belongs to; all other codes of a login are the login's.
STAGE = {"name": "name", "port": "port", "banner": "banner", "algorithms": "banner", "channel": "jump",
         "sftp": "sftp", "host_key_unknown": "host_key", "host_key_changed": "host_key",
         "host_key_revoked": "host_key"}


def examine(connection: dict[str, Any], report: Callable[..., Any], ask: Callable[..., Any] | None = None,
            secrets: dict[str, Any] | None = None, home: Path | None = None) -> dict[str, Any]:
    """Test `connection` (dict), calling report({"name", "ok", "text", "advice", "ms", …}) for each line as it
    is known. A line with words in it also carries "said", the name of its sentence, and the values in it, for
    the pages' translation; one that failed to connect the error's "code" and values too, such as "known" and
    "offered" of a changed host key.

    ok: True, False, or None (cannot be told, or does not matter). The arguments ask, secrets and home are
    remote.connect's. Returns {"ok": bool, "offer": [{"root", "runs"}], "browse": bool}; every failure becomes
    a line.
    """
    examination = _Examination(connection, report)
    try:
        line = examination.connect(ask, secrets, home)
    except RunicornError as error:
        examination.failed(error)
        return examination.result()
    try:
        examination.look_around(line)
    except RunicornError as error:
        examination.failed(error)
    finally:
        line.close()
    return examination.result()


class _Examination:
    """One test on its way; `at` is the line being worked on."""

    def __init__(self, connection, report):
        self.connection, self.report = connection, report
        self.stage, self.since = "name", time.monotonic()
        self.bad, self.offer, self.browse = False, [], False

    def say(self, name, ok, text, advice="", ms=None, **values):
        now = time.monotonic()
        took = (now - self.since) * 1000 if ms is None else ms
        self.since = now
        self.bad = self.bad or ok is False
        self.report({"name": name, "ok": ok, "text": text, "advice": advice, "ms": round(took, 1), **values})

    def result(self):
        return {"ok": not self.bad, "offer": self.offer, "browse": self.browse}

    def connect(self, ask, secrets, home):
        def passed(stage, text, **values):
            self.say(stage, True, text, **values)
            self.stage = LINES[LINES.index(stage) + 1] if stage != "port" else "banner"
        # Zlib would bound the throughput
        return remote.connect(self.connection, ask, secrets, home, log=passed, compress=False)

    def failed(self, error):
        code, values = error.code, error.values if error.code else {"said": "failed", "detail": str(error)}
        line = STAGE.get(code) or ("login" if code in LOGIN_CODES
                                   and self.stage not in ("name", "port", "banner") else self.stage)
        self.say(line, False, str(error), **{"said": code, **values, "code": code})

    def look_around(self, line):
        self.stage = "sftp"
        client = line.open_sftp()
        self.browse = True
        start = client.realpath(".")
        self.say("sftp", True, f"starts in {start}", said="sftp_open", start=start)
        self.stage = "root"
        self.root(client, expanded(self.connection["remote_root"], start), start)
        self.stage = "rtt"
        self.speed(client)
        client.close()
        self.stage = "exec"
        self.exec(line)

    def exec(self, line):
        """Tell whether commands run; after SFTP was closed, for servers that allow one session at a time."""
        began = time.time()
        try:
            seconds, reply = remote_shell.probe(line, EXEC_SECONDS)
        except RemoteError as error:            # SFTP worked: whatever this is, it is no missing connection
            return self.no_exec(error, line.alive)
        now = (began + time.time()) / 2
        try:
            version, answer = remote_shell.python(line, namesake.LOOK, timeout=EXEC_SECONDS)
            self.say("exec", True, f"runs commands, Python {version}", said="exec_python",
                     python=f"Python {version}")
            self.namesake(namesake.told(answer))
        except RemoteError as error:
            self.no_python(error, reply)
        return self.clock(seconds, now)

    def no_exec(self, error, alive):
        detail = getattr(error, "values", {}).get("detail") or ""
        if isinstance(error, SftpError):
            text = f"no commands, SFTP only: complete all the same{f' (it says: {detail})' if detail else ''}"
            self.say("exec", None, text, said="exec_words" if detail else "exec_none", detail=detail)
        elif alive:
            text = (f"commands do not answer within {EXEC_SECONDS} s; SFTP works and is enough: "
                    "complete all the same")
            self.say("exec", None, text, said="exec_slow", limit=EXEC_SECONDS)
        else:
            text = f"commands do not end ({error}); SFTP only: complete all the same"
            self.say("exec", None, text, said="exec_cut", detail=str(error))
        self.say("clock", None,
                 "can't be told by SFTP; a run's liveness is judged by change, so it does not matter",
                 said="clock_none")

    def no_python(self, error, version):
        """version: what `python3 -V` printed; one that is too old to run our program says only there which it
        is."""
        values = {"detail": str(error), "python": version, **getattr(error, "values", {})}
        word = values.get("said")
        if word == "exec_bare" and version:
            word = "exec_old" if remote_shell.is_old(version) else None
        reasons = {"exec_bare": "has no python3", "exec_old": f"its {values['python']} is older than 3.6"}
        text = reasons.get(word, str(error))
        name = "exec_bare" if word == "exec_bare" else "exec_old" if word == "exec_old" else "exec_failed"
        self.say("exec", None, f"runs commands, but {text}", "the index is read by SFTP in its place",
                 said=name, python=values["python"], detail=values["detail"])

    def namesake(self, package):
        """Tell of the other program of our name, which python3 there would import: a script that logs with it
        brings no run here."""
        if package:
            version, folder = package
            self.say("namesake", None, f"in {folder} is runicorn {version}, another program of the same "
                     f"name: a script that imports it " "there makes no runs for here",
                     f"on the server: `pip uninstall runicorn`, then `pip install {namesake.WHEEL}`",
                     said="namesake", version=version, folder=folder, wheel=namesake.WHEEL)

    def clock(self, seconds, now):
        skew = int(seconds) - now if seconds.isdecimal() else None
        if skew is None:
            self.say("clock", None, "the server does not tell its time", said="clock_silent")
        elif abs(skew) <= SKEW_SECONDS:
            self.say("clock", True, "agrees with ours", said="clock_same")
        else:
            self.say("clock", None,
                     f"the server's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
                     "times of runs are shown by the server's clock; liveness does not depend on it",
                     said="clock_ahead" if skew > 0 else "clock_behind", skew_seconds=abs(skew))

    def root(self, client, root, start):
        try:
            attrs = client.lstat(root)
        except SftpError as error:
            absent = error.status == sftp_answers.NO_SUCH_FILE
            self.say("root", None if absent else False, f"{root}: {error}",
                     "nothing was logged there yet, or the folder of runs is another one: browse for it",
                     said="root_absent" if absent else "root_denied", root=root, detail=str(error))
            self.offer = offers(client, root, start)
            return self.runs(0, root)
        if not (sftp.is_dir(attrs) or sftp.is_link(attrs)):
            return self.say("root", False, f"{root} is not a folder", "browse for the folder of runs",
                            said="root_file", root=root)
        walked = _walked(client, root)
        if walked is None:
            return self.say("root", False, f"{root} can't be listed",
                            f"ask for the right to read it (there: `ls -la {root}`)", said="root_closed",
                            root=root)
        self.say("root", True, root)
        runs, skipped = walked
        others, is_complete = others_below(client, root, runs, OTHERS_SECONDS,
                                           rules.made(self.connection.get("rules") or ()))
        if not runs and not others:
            self.offer = offers(client, root, start)
        if others:
            self.others(len(runs), others, root, is_complete)
        else:
            self.runs(len(runs), root, skipped)
        return self.manifest(client, root)

    def others(self, count, others, root, is_complete):
        """Say how many runs are ours, and of each other logger."""
        kinds_text = ", ".join(f"{number} of {foreign.NAMES[kind]}" for kind, number in others.items())
        more = "" if is_complete else ", as far as it was looked at"
        self.say("runs", True,
                 f"{count} run{'' if count == 1 else 's'} of ours, {kinds_text} in {root}{more}",
                 said="runs_others" if is_complete else "runs_others_so_far", count=count, others=others,
                 root=root)

    def runs(self, count, root, skipped=None):
        passed = left_out.worth_telling(skipped or {})
        if passed and (count or not self.offer):
            text = (f"{count} run{'' if count == 1 else 's'} in {root}; passed over: "
                    f"{left_out.passed_text(passed)}")
            self.say("runs", bool(count) or None, text, said="runs_passed", count=count, root=root,
                     passed=sum(passed.values()))
        elif count or not self.offer:
            advice = "" if count else "they appear seconds after init()"
            self.say("runs", bool(count) or None, f"{count} run{'' if count == 1 else 's'} in {root}", advice,
                     said="runs_found" if count else "runs_none", count=count, root=root)
        else:
            offers = "; ".join(f"{offer['runs']} in {offer['root']}" for offer in self.offer)
            self.say("runs", None, f"0 runs in {root}; {offers}: use it?",
                     "choose the folder that holds the runs", said="runs_elsewhere", root=root)

    def manifest(self, client, root):
        answers = client.batch([sftp.lstat(f"{root}/.runicorn/{name}") for name in MANIFESTS])
        files = [answer for answer in answers if not isinstance(answer, SftpError)]
        if not files:
            advice = "on the server, `runicorn generate-manifest` every 5 minutes makes the first list faster"
            return self.say("manifest", None, "none", advice, said="manifest_none")
        age = time.time() - max(answer.mtime or 0 for answer in files)
        return self.say("manifest", age < OLD_MANIFEST or None, f"made {age:.0f} s ago",
                        "" if age < OLD_MANIFEST
                        else "it is old; is the server's timer or cron entry still running?",
                        said="manifest_fresh" if age < OLD_MANIFEST else "manifest_old", age=max(0, age))

    def speed(self, client):
        times = []
        for _ in range(5):
            began = time.monotonic()
            client.realpath(".")
            times.append((time.monotonic() - began) * 1000)
        self.say("rtt", True, f"{statistics.median(times):.1f} ms", ms=statistics.median(times))
        rate = throughput(client)
        self.say("throughput", True if rate else None,
                 f"{rate / 1e6:.1f} MB/s" if rate else "not measured: nothing there to read",
                 **{} if rate else {"said": "throughput_none"})


def throughput(client: Sftp) -> float | None:
    """Return the measured speed in bytes/s, by reading random bytes (they can't be compressed); None where
    there are none."""
    handle, = client.batch([sftp.open_file("/dev/urandom")])    # a device, but one we know
    if isinstance(handle, SftpError):
        return None             # a chroot without devices, or Windows
    began, got = time.monotonic(), 0
    while got < SPEED_BYTES and time.monotonic() - began < SPEED_SECONDS:
        answers = client.batch([sftp.read(handle, got + index * client.max_read, client.max_read)
                                for index in range(8)])
        if any(isinstance(answer, SftpError) for answer in answers):
            break
        got += sum(map(len, answers))
    client.close_handle(handle)
    return got / (time.monotonic() - began) if got else None


def expanded(root: str, start: str) -> str:
    """Return a remote root as an absolute path: "~" is where the SFTP session starts."""
    if root == "~" or root.startswith("~/"):
        return (start.rstrip("/") + root[1:]) or "/"
    return root if root.startswith("/") else f"{start.rstrip('/')}/{root}"


def offers(client: Sftp, root: str, start: str) -> list[dict[str, Any]]:
    """Return the usual places that do hold runs, when `root` holds none: [{"root", "runs"}], most runs
    first."""
    places = [expanded(usual, start) for usual in USUAL_ROOTS] + [root.rstrip("/").rpartition("/")[0] or "/",
                                                             f"{root.rstrip('/')}/experiments"]
    roots = [{"root": folder, "runs": count_runs(client, folder, WIDEST) or 0}
             for folder in dict.fromkeys(places) if folder != root]
    return sorted((root_offered for root_offered in roots if root_offered["runs"]),
                  key=lambda root_offered: -root_offered["runs"])


def others_below(client, root, ours, seconds, own_rules=None):
    """Return ({kind: runs of it}, whether it was looked everywhere) of other loggers' runs below a root, as
    found within so many seconds; a run counts as of the kind that is believed first.

    ours: paths of the runs of ours there; own_rules: foreign_rules.Rules.
    """
    search, now = ForeignWalk(client, client.realpath(root), lambda moment: moment, own_rules), time.time()
    search.start([""], {path.rpartition(f"/{layout.RUNS}/")[0] for path in ours})
    try:
        is_complete = search.go_on(now, time.monotonic() + seconds)
    except SftpError:
        return {}, False            # gone meanwhile
    counts = collections.Counter(run.kinds[0] for run in search.result())
    return {kind: counts[kind] for kind in foreign.KINDS if counts[kind]}, is_complete


def count_runs(client: Sftp, root: str, widest: int | None = None) -> int | None:
    """Return how many runs (project/name/runs/id) a folder holds, or None if it can't be listed; not those
    that a home keeps, which are another folder's.

    widest: the same for a folder with more folders than this at one level, which is some other tree.
    """
    walked = _walked(client, root, widest)
    return None if walked is None else sum(not local_names.root_of(path) for path in walked[0])


def _walked(client, root, widest=None):
    """Return ({run path: mtime}, {reason: count} of what is passed over), or None; see count_runs."""
    wide = []
    try:
        skeleton = walk.Skeleton(client, client.realpath(root))
        runs = skeleton.refresh(time.time(),
                                lambda count: bool(widest and count > widest and not wide.append(count)))
    except SftpError:
        return None
    if wide:
        return None
    others = _others_among(client, skeleton, [path for path in runs if not TIMED.search(path)][:DOUBTFUL])
    return {path: runs[path] for path in runs if path not in others}, skeleton.skipped


def _others_among(client, skeleton, paths):
    """Return those of the folders `paths` in `runs` that hold files, but none of a run of ours (set)."""
    places = {skeleton.absolute(path): path for path in paths}
    listings = walk.list_folders(client, places) if places else {}
    return {places[place] for place, listing in listings.items() if not isinstance(listing, SftpError)
            and not manifest.is_ours([name for name, _ in listing if name != "."])}


def _folders(client, paths):
    """List many folders at once. Returns {path: [names of the folders in it]}, None for one that can't be
    listed."""
    return {path: None if isinstance(listed, SftpError)
            else [name for name, attrs in listed if sftp.is_dir(attrs) and name != "."]
            for path, listed in folder_lister.list_folders(client, paths).items()}


def holdings(client: Sftp, root: str) -> list[dict[str, Any]]:
    """Return what a root on the server holds, by listing it: entries {"files", "mtime", "beat"} as a
    manifest's. Raises SftpError."""
    runs, listed = walk.Skeleton(client, client.realpath(root)).refresh(time.time()), {}
    walk.list_runs(client, root, runs, listed.__setitem__)
    return [{"files": {name: file for name, file in files.items() if name != "."}, "mtime": runs[path],
             "beat": None} for path, files in listed.items() if not isinstance(files, SftpError)]


def browse(client: Sftp, path: str) -> dict[str, Any]:
    """Return {"path", "parent", "runs", "others", "folders": [{"name", "runs", "inside", "others"}]}, all
    with "least", for choosing a remote root. Raises SftpError.

    runs: how many a folder holds (int), None where it is not known; inside: how many lie in folders within
    it, of one that holds none;
    others: how many runs of other loggers were found in it, or deeper; least: whether there may be more of
    either, as the time for counting ran out.
    """
    deadline = time.monotonic() + BROWSE_SECONDS
    start = client.realpath(".")
    folder = client.realpath(expanded(path or "~", start))
    names = _folders(client, [folder])[folder]
    if names is None:
        raise DeniedError(f"{folder} can't be listed", sftp_answers.PERMISSION_DENIED)
    prefix = folder.rstrip("/")
    few = len(names) <= COUNTED_FOLDERS
    folders = [{"name": name, **_held(client, f"{prefix}/{name}", deadline if few else 0.0)}
               for name in sorted(names)]
    parent = None if folder == "/" else (prefix.rpartition("/")[0] or "/")
    walked = _walked(client, folder, WIDEST)
    others, is_complete = others_below(client, folder, walked[0], BROWSE_OTHERS) if walked else ({}, True)
    return {"path": folder, "runs": walked and len(walked[0]), "others": sum(others.values()),
            "least": not is_complete, "parent": parent, "folders": folders}


def _held(client, folder, deadline):
    """Return {"runs", "inside", "others", "least"} of a folder as `browse` says it, with what was found until
    `deadline` (monotonic s)."""
    walked = _walked(client, folder, WIDEST) if time.monotonic() < deadline else None
    runs = walked and len(walked[0])
    seconds = min(BROWSE_OTHERS, deadline - time.monotonic())
    may_hold = walked and foreign.is_looked_into(folder.rpartition("/")[2])     # as below the folder above it
    others, is_complete = (others_below(client, folder, walked[0], seconds) if may_hold and seconds > 0
                           else ({}, not may_hold))
    inside, level = 0, [folder]
    for _ in range(BROWSE_LEVELS if runs == 0 else 0):
        listed = _folders(client, level) if time.monotonic() < deadline else {}
        level = [f"{parent.rstrip('/')}/{name}" for parent, names in listed.items()
                 for name in (names or ())][:WIDEST]
        for inner in level:
            inside += (count_runs(client, inner, WIDEST) or 0) if time.monotonic() < deadline else 0
        if inside:
            break
    return {"runs": runs, "inside": inside or None, "others": sum(others.values()) or None,
            "least": walked is not None and not (is_complete and time.monotonic() < deadline)}
