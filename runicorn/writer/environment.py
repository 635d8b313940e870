"""Where and by whom a run is made, for its meta.json. The quick facts at once; git's, which take a process,
when asked."""

import os
import sys
import time

from runicorn.layout import FORMAT
from runicorn.version import VERSION
from runicorn.writer import processes
from runicorn.writer.notice import uncut

GIT_SECONDS = 20            # a huge repository on a slow disk; then there is no dirty flag
SLURM = {"SLURM_JOB_ID": "job_id", "SLURM_JOB_NAME": "job_name", "SLURM_ARRAY_JOB_ID": "array_job_id",
         "SLURM_ARRAY_TASK_ID": "array_task_id", "SLURM_STEP_ID": "step_id", "SLURM_PROCID": "task",
         "SLURM_RESTART_COUNT": "restart_count", "SLURM_CLUSTER_NAME": "cluster",
         "SLURM_JOB_ACCOUNT": "account", "SLURM_JOB_QOS": "qos", "SLURM_JOB_PARTITION": "partition",
         "SLURM_JOB_NUM_NODES": "nodes", "SLURM_JOB_NODELIST": "nodelist", "SLURM_NTASKS": "tasks",
         "SLURM_SUBMIT_HOST": "submit_host", "SLURM_SUBMIT_DIR": "submit_dir"}


def gather(now, environ=os.environ):
    """Return what can be known without waiting (dict for meta.json); `now`: Unix seconds."""
    local = time.localtime(now)
    facts = {"format": FORMAT, "created_at": round(now, 3), "tz": time.strftime("%Z", local),
             "utc_offset": local.tm_gmtoff, "user": _user(environ), "hostname": hostname(),
             "pid": os.getpid(), "argv": list(getattr(sys, "argv", None) or []), "cwd": _cwd(),
             "python": sys.version.split()[0], "platform": _platform(), "cpus": os.cpu_count(),
             "runicorn": VERSION}
    jobs = slurm(environ)
    if jobs:
        facts["slurm"] = jobs
    if environ.get("TORCHELASTIC_RUN_ID"):
        facts["torchrun"] = {"run_id": environ["TORCHELASTIC_RUN_ID"],
                             "restart_count": environ.get("TORCHELASTIC_RESTART_COUNT", "0"),
                             "rank": environ.get("RANK", ""), "agent": agent()}
    return facts


def slurm(environ=os.environ):
    """Return the Slurm facts of this process (dict of str; "time_limit" as Slurm writes it), empty outside
    Slurm."""
    facts = {name: environ[variable] for variable, name in SLURM.items() if environ.get(variable)}
    start, end = environ.get("SLURM_JOB_START_TIME", ""), environ.get("SLURM_JOB_END_TIME", "")
    if "job_id" in facts and start.isdecimal() and end.isdecimal() and int(start) < int(end):
        days, seconds = divmod(int(end) - int(start), 86400)
        facts["time_limit"] = (f"{days}-" * bool(days)
                               + f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}")
    return facts if "job_id" in facts else {}


def agent():
    """Return [pid, start] of the torchrun agent of this worker (see `process_start`): its nearest ancestor
    that has not the environment of a worker itself, as the shell of a wrapper script has."""
    pid = os.getppid()
    try:
        while b"\0TORCHELASTIC_RUN_ID=" in b"\0" + _proc(pid, "environ"):
            pid = int(_proc(pid, "stat").rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        pass                            # not ours to look at, or no /proc: the parent itself
    return [pid, process_start(pid)]


def _proc(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def hostname():
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "")


def process():
    """Return what tells this process from any that has its number: {"pid", "start": clock ticks after the
    boot, "boot": the boot's id, "pid_ns", "net_ns": its namespaces (int)}; all but "pid" only where /proc
    says so (proc(5))."""
    facts = {"pid": os.getpid(), "start": process_start("self")}
    for name, kind in (("pid_ns", "pid"), ("net_ns", "net")):
        try:
            facts[name] = os.stat(f"/proc/self/ns/{kind}").st_ino
        except OSError:
            pass
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            facts["boot"] = file.read(8)        # the beginning is enough, and short to look at
    except (OSError, ValueError):
        pass
    return {name: value for name, value in facts.items() if value is not None}


def began(start):
    """Return the Unix time (float) at which a process of this machine began, by its `process_start`; 0.0 if
    nothing says so."""
    try:
        up = float(_proc("", "uptime").split()[0])
        return time.time() - up + start / os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, TypeError, ValueError):
        return 0.0


def process_start(pid):
    """Return when a process of this machine began (int, clock ticks after the boot), 0 for a zombie, None if
    nothing says so."""
    if processes.WINDOWS:
        return processes.start(pid)
    try:
        fields = _proc(pid, "stat").rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X", b"x") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _user(environ):
    for variable in ("LOGNAME", "USER", "USERNAME"):
        if environ.get(variable):
            return environ[variable]
    try:
        import pwd
        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):     # Windows; a container's uid that has no name
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _cwd():
    try:
        return os.getcwd()
    except OSError:                     # the folder was removed under us
        return ""


def _platform():
    if hasattr(os, "uname"):
        system = os.uname()
        return f"{system.sysname}-{system.release}-{system.machine}"
    return sys.platform


def git(folder):
    """Return {"commit", "branch", "dirty"} of the repository around `folder`, or None; starts git where there
    is one, writes nothing."""
    if not is_in_repository(folder):
        return None
    head = _git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
    if not head:
        return None
    commit, _, branch = head.partition("\n")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "branch": branch.strip(), "dirty": None if changes is None else bool(changes)}


def is_in_repository(folder):
    """Whether git may find a repository (it also takes one from the environment, or begins in a bare one);
    asks the disk alone."""
    try:
        folder, above = os.path.abspath(folder), None
    except OSError:             # a working folder that was removed
        return False
    if "GIT_DIR" in os.environ or os.path.exists(os.path.join(folder, "HEAD")):
        return True
    while folder != above:
        if os.path.exists(os.path.join(folder, ".git")):
            return True
        folder, above = os.path.dirname(folder), folder
    return False


def _git(folder, *arguments):
    with uncut():
        import subprocess
        try:
            process = subprocess.Popen(["git", "--no-optional-locks", *arguments], cwd=folder,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError, ValueError):       # no git, no folder
            return None
    with process:
        try:
            text = process.communicate(timeout=GIT_SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    return text.decode("utf-8", "replace").strip() if process.returncode == 0 else None


def script_folder():
    """Return the folder of the script that runs (str), else the current one."""
    script = (getattr(sys, "argv", None) or [""])[0]
    folder = os.path.dirname(os.path.abspath(script)) if script and os.path.isfile(script) else _cwd()
    return folder or "."
