"""What disks do each their own way, as the laptop's side meets it: renaming and deleting what somebody has
open, locks, links, long paths."""

import codecs
import contextlib
import errno
import os
import stat
import time

from runicorn.disk import PATIENCE, patiently
from runicorn.errors import LineError, RunicornError

# Of a whole disk; other errors are one file's own
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# Of the machine: the next try may have what it needs
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
WINDOWS = os.name == "nt"
# What a file system without locks answers
LOCKLESS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)
LOCK_SECONDS = 10.0             # for another process that changes the same file
FAR = 1 << 30                   # where Windows' lock lies: nobody can read what it covers
# Characters of a folder below which Windows (260) takes our files without a prefix
ROOM = 150
PREFIX, SHARE = "\\\\?\\", "\\\\?\\UNC\\"
JUNCTIONS = hasattr(os.stat_result, "st_reparse_tag")
NOT_EMPTY = 145             # ERROR_DIR_NOT_EMPTY
HELD = (5, 32, 33, 1224)        # access denied, sharing violation, a locked range, a mapped file
READ_CONTROL, OPEN_EXISTING, FILE_OBJECT, OWNER = 0x20000, 3, 1, 1      # winnt.h, fileapi.h, accctrl.h
# FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT: not what it leads to
AS_FOLDER, AS_LINK = 0x2000000, 0x200000
# As root is elsewhere: the
TRUSTED = {"S-1-5-18", "S-1-5-32-544", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"}
                                # system, its administrators, TrustedInstaller
# The bit of a reparse tag that says that the entry stands for another one: links and junctions
SURROGATE = 0x20000000


def remove(path, seconds=PATIENCE):
    """Delete a file, or a link. Raises OSError."""
    patiently(os.unlink, path, seconds=seconds)


def remove_tree(folder, spare=()):
    """Delete a folder and all in it but the files `spare` (paths below it) and the folders that hold them;
    links are not followed.

    Whatever can be deleted is, also when another entry can't be. Raises the first OSError.
    """
    troubles = []
    with scandir(folder) as items:
        listed = list(items)
    for entry in listed:
        try:
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path, spare)
            elif entry.path not in spare:
                remove(entry.path)
        except FileNotFoundError:
            continue            # another process tidies, too
        except OSError as error:
            troubles.append(error)
    if troubles:
        raise troubles[0]
    if not any(path.startswith(os.path.join(folder, "")) for path in spare):
        _remove_empty(folder)


def is_shortage(error):
    """Whether an exception, or one that it came from, says that the machine has no descriptor, thread or
    memory left."""
    return shortage(error) is not None


def shortage(error):
    """Return in the system's words what the machine has none of, as an exception, or one that it came from,
    says it; None of others."""
    while error is not None:
        if isinstance(error, MemoryError):
            return "Cannot allocate memory"
        if isinstance(error, OSError) and error.errno in SHORT:
            return os.strerror(error.errno)
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            return str(error)
        error = error.__cause__
    return None


def passing(error):
    """Return a shortage of files, threads or memory as a LineError, which is worth another try, an error of
    ours as it is; raise others."""
    detail = shortage(error)
    if detail is not None:
        return LineError(f"this machine is short of open files, threads or memory ({detail})", code="short",
                         said="short_of", detail=detail)
    if not isinstance(error, RunicornError):
        raise error
    return error


def pass_over(error):
    """Pass over an OSError that is one file's own; raise it where the machine is short of what any file
    needs."""
    if error.errno in SHORT:
        raise error


def is_held(error):
    """Whether an exception, or one that it came from, is Windows' refusal because somebody has a file
    open."""
    while error is not None and getattr(error, "winerror", None) not in HELD:
        error = error.__cause__
    return error is not None


def _remove_empty(folder, seconds=PATIENCE):
    """Delete a folder of which all was deleted: on Windows a file goes only when its last reader closes it.
    Raises OSError."""
    until = time.monotonic() + seconds
    while True:
        try:
            return patiently(os.rmdir, folder)
        except OSError as error:
            if getattr(error, "winerror", None) != NOT_EMPTY or time.monotonic() > until:
                raise
        time.sleep(0.02)


def changed(status):
    """Return when a file or its times changed last (Unix s) by its os.stat_result, None on Windows, which
    tells when it was made."""
    return None if WINDOWS else status.st_ctime


def utf8(data):
    """Return the bytes of a text file as UTF-8 without a mark: Notepad begins files with one, PowerShell's
    ">" writes UTF-16."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def about(error, path, beside):
    """Return an OSError like `error` that names the file a person asked for, `path`, where it names none or
    the temporary `beside`."""
    return error if error.filename not in (None, beside) else OSError(error.errno, error.strerror, path)


def is_shared(folder, environ=os.environ, windows=WINDOWS):
    """Whether other users of this machine may read what is written into a folder: where files have no modes
    (Windows), what is outside the user's own folders."""
    if not windows:
        return False
    import ntpath
    settle = os.path.realpath if WINDOWS else ntpath.normpath
    own = [environ[name] for name in ("USERPROFILE", "APPDATA", "LOCALAPPDATA") if environ.get(name)]
    return not any((ntpath.normcase(settle(folder)) + "\\").startswith(ntpath.normcase(settle(private))
                                                                       + "\\") for private in own)


# -- locks ---------------------------------------------------------------------------------------------------

def try_lock(fd):
    """Take the kernel's lock on an open file, without waiting; returns whether it was free. Others can read
    the file. Where the file system has no locks (Lustre without `flock`, NFS without a lock service) nobody
    can be kept out, and it passes for free."""
    try:
        if WINDOWS:
            import msvcrt
            offset = os.lseek(fd, 0, os.SEEK_CUR)
            os.lseek(fd, FAR, os.SEEK_SET)
            try:
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(fd, offset, os.SEEK_SET)       # what is written next belongs at the beginning
        else:
            import fcntl
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in LOCKLESS
    return True


@contextlib.contextmanager
def locked(path, seconds=LOCK_SECONDS):
    """Hold the lock of `path` (a file beside it, freed by the kernel if we die) among processes and threads.
    Raises OSError."""
    until = time.monotonic() + seconds
    with open(f"{path}.lock", "a+b") as file:
        while not try_lock(file.fileno()):
            if time.monotonic() > until:
                raise TimeoutError(f"{path}.lock has been held by another process for {seconds:g} s")
            time.sleep(0.01)
        yield


# -- links ---------------------------------------------------------------------------------------------------

def is_link(path):
    """Whether a path is a symbolic link or, on Windows, a junction, which Python before 3.12 takes for a
    folder."""
    try:
        return stands_for_another(os.lstat(reach(path)))
    except (OSError, ValueError):
        return False


def stands_for_another(status):
    """Whether a result of lstat is that of a symbolic link or a junction."""
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_reparse_tag", 0) & SURROGATE)


def owners(link):
    """Return who owns a link of Windows, and who the folder that it leads to: a SID (str), 0 for the system
    and its administrators, None where that is not told."""
    return tuple(0 if sid in TRUSTED else sid
                 for sid in (_owner(reach(link), AS_FOLDER | AS_LINK), _owner(reach(link), AS_FOLDER)))


def _owner(path, flags):
    """Return the SID (str) of who owns a file of Windows, None if that is not told."""
    import ctypes
    kernel, advapi = (ctypes.WinDLL(name) for name in ("kernel32", "advapi32"))
    kernel.CreateFileW.restype = ctypes.c_void_p
    file = ctypes.c_void_p(kernel.CreateFileW(ctypes.c_wchar_p(path), READ_CONTROL, 7, None, OPEN_EXISTING,
                                              flags, None))
    if file.value == ctypes.c_void_p(-1).value:
        return None
    sid, fd, text = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_wchar_p()
    try:
        if (advapi.GetSecurityInfo(file, FILE_OBJECT, OWNER, ctypes.byref(sid), None, None, None,
                                   ctypes.byref(fd))
                or not advapi.ConvertSidToStringSidW(sid, ctypes.byref(text))):
            return None
        return text.value
    finally:
        kernel.CloseHandle(file)
        for memory in (fd, text):
            kernel.LocalFree(ctypes.cast(memory, ctypes.c_void_p))


def scandir(folder):
    """Return what os.scandir does, with junctions as the links that they are. Raises OSError."""
    listed = os.scandir(reach(folder))
    return _Entries(listed) if JUNCTIONS else listed


class _Entries:
    def __init__(self, listed):
        self._listed = listed

    def __enter__(self):
        return map(_Entry, self._listed)

    def __exit__(self, *_):
        self._listed.close()


class _Entry:
    """An os.DirEntry of Windows. Its lstat is at hand: it came with the name."""

    def __init__(self, entry):
        self.name, self.path, self._entry = entry.name, entry.path, entry

    def is_symlink(self):
        return stands_for_another(self._entry.stat(follow_symlinks=False))

    def is_dir(self, follow_symlinks=True):
        return self._entry.is_dir() and (follow_symlinks or not self.is_symlink())

    def is_file(self, follow_symlinks=True):
        return self._entry.is_file() and (follow_symlinks or not self.is_symlink())

    def stat(self, follow_symlinks=True):
        status = self._entry.stat(follow_symlinks=follow_symlinks)
        if follow_symlinks or not stands_for_another(status):
            return status
        return os.stat_result((stat.S_IFLNK | stat.S_IMODE(status.st_mode), *status[1:]),
                              {"st_mtime_ns": status.st_mtime_ns, "st_ctime_ns": status.st_ctime_ns})


def walk(folder):
    """Yield (folder, names of the folders in it, names of other things) from `folder` (str) down, sorted, as
    os.walk does without following links, junctions included. What can't be listed is passed over."""
    waiting = [os.fspath(folder)]
    while waiting:
        current, folders, names = waiting.pop(), [], []
        try:
            with scandir(current) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        folders.append(item.name)
                    elif not item.is_dir():
                        names.append(item.name)
        except OSError:
            continue
        yield current, sorted(folders), sorted(names)
        waiting += [os.path.join(current, name) for name in sorted(folders, reverse=True)]


# -- long paths ----------------------------------------------------------------------------------------------

def reach(path, windows=WINDOWS):
    """Return a path (str or Path) as Windows takes it though it is long, or files below it will be;
    elsewhere, and a short one, as it is. There may be "/" in it."""
    if not windows:
        return path
    text = os.fspath(path)
    text = (text.replace("/", "\\") if text.startswith(PREFIX) else long(text, windows) if len(text) > ROOM
            else text)
    return type(path)(text)


def long(path, windows=WINDOWS):
    """Return a path (str, absolute) as Windows takes it at any length, and in any component what the disk
    takes; elsewhere as it is.

    Below it only os.path.join and pathlib make paths: a "/" in it is no separator.
    """
    path = os.fspath(path)
    if not windows or path.startswith(PREFIX):
        return path
    import ntpath
    path = ntpath.abspath(path) if WINDOWS else ntpath.normpath(path)
    return SHARE + path[2:] if path.startswith("\\\\") else PREFIX + path


def short(path, windows=WINDOWS):
    """Return a path (str) as people write it; with the prefix of `long` where files below it could be too
    long without."""
    path = os.fspath(path)
    if not windows or not path.startswith(PREFIX):
        return path
    plain = "\\\\" + path[len(SHARE):] if path.startswith(SHARE) else path[len(PREFIX):]
    return plain if len(plain) <= ROOM else path
