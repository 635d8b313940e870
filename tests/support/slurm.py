"""A real Slurm of its own on this machine, for tests: `with Slurm(folder) as slurm: job = slurm.sbatch(...)`.
Debian's slurmctld, slurmd, slurm-client and munge, free ports, everything in one folder; needs no systemd, no
cgroups and no accounting.

Slurm tracks a job by its process group (proctrack/pgid). As on most clusters, a batch script's shell that
dies by SIGTERM takes what it started with it: SIGKILL follows within milliseconds.
"""

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from ports import free_port
from waiting import until

START_SECONDS = 90
NODES = ("n1", "n2")
PATHS = "/usr/sbin:/usr/bin:/sbin:/bin"
OVER = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "DEADLINE")
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
ReturnToService=2
"""


class Slurm:
    """One controller and the nodes n1 and n2 (with host names of their own where this user may give them), 64
    processors each.

    Partitions: `low` (the default) and `high`, whose jobs preempt and requeue those of `low`. Public: folder
    (Path).
    """

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm"))            # a socket's path is short
        self._own_names = subprocess.run(["unshare", "--uts", "true"], capture_output=True).returncode == 0
        self._daemons = {}
        # ends all that is ours, even if we are killed
        sweeper = [sys.executable, __file__, str(self.folder)]
        # out of Ctrl+C's and timeout's reach
        self._sweeper = subprocess.Popen(sweeper, stdin=subprocess.PIPE, start_new_session=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # -- the daemons -----------------------------------------------------------------------------------------

    def start(self):
        """Start the daemons and wait until both nodes take jobs. Raises RuntimeError with their logs if they
        do not."""
        ports = [free_port() for _ in range(1 + len(NODES))]
        text = CONFIG.format(host=socket.gethostname().split(".")[0], ports=ports, user=getpass.getuser(),
                             folder=self.folder)
        for node, port in zip(NODES, ports[1:]):
            text += (f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} CPUs=64 "
                     "State=UNKNOWN\n")
        for name, tier in (("low", 1), ("high", 10)):
            text += (f"PartitionName={name} Nodes=ALL Default={'YES' if tier == 1 else 'NO'} "
                     f"MaxTime=INFINITE State=UP PriorityTier={tier}\n")
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "state").mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        files = [f"--{name}={self.folder}/munge.{ending}" for name, ending in (
            ("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("seed-file", "seed"))]
        self._daemon("munged", "--foreground", "--force", *files)
        self._until(lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D", "-i")
        for node in NODES:
            self.start_node(node)
        self._until(lambda: all(self.idle(node) for node in NODES))

    def start_node(self, node):
        """Start the daemon of a node ("n1" or "n2")."""
        naming = (["unshare", "--uts", "sh", "-c", 'hostname "$1" && shift && exec "$@"', "sh", node]
                  if self._own_names else [])
        # as in its jobs, for `processes`
        self._daemon("slurmd", "-D", "-N", node, name=node, naming=naming, SLURMD_NODENAME=node)

    def _daemon(self, program, *arguments, name=None, naming=(), **env):
        command = [*naming, shutil.which(program, path=PATHS), *arguments]
        with open(self.folder / f"{name or program}.out", "ab") as out:
            self._daemons[name or program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                env=self.environment(PATH=PATHS, **env))

    def _until(self, condition):
        def has_fallen():
            return any(daemon.poll() is not None for daemon in self._daemons.values())
        with contextlib.suppress(AssertionError):
            until(lambda: condition() or has_fallen(), seconds=START_SECONDS, pause=0.1)
        if has_fallen() or not condition():
            logs = "\n".join(f"{path}:\n{path.read_text(errors='replace')[-2000:]}"
                             for path in sorted(self.folder.glob("*.out")))
            raise RuntimeError(f"Slurm did not start:\n{logs}")

    def stop(self):
        """End everything that belongs to this Slurm, jobs included, and remove its folder."""
        self._sweeper.stdin.close()
        self._sweeper.wait()
        for daemon in self._daemons.values():
            daemon.wait()

    def processes(self, node=None):
        """Return the processes of this Slurm and its jobs, of one node if named (list of psutil.Process)."""
        return [process for process in processes_of(self.folder)
                if node in (None, environ(process).get("SLURMD_NODENAME"))]

    def fail_node(self, node):
        """Let a node die at once, with everything on it, and the controller know of it."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait()
        for process in self.processes(node):
            kill(process)
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=died")

    # -- jobs ------------------------------------------------------------------------------------------------

    def environment(self, **more):
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), **more}

    def call(self, *command, check=True, env=None, **options):
        """Run one of Slurm's commands to its end; returns its stdout (str). env: dict, instead of a bare
        one."""
        env = self.environment(**{"PATH": PATHS, **(env or {})})
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, **options)
        if check and done.returncode:
            raise RuntimeError(
                f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def sbatch(self, folder, script, *options, **env):
        """Submit a bash script (text below the first line) to run in `folder` with the environment `env`;
        returns the job's id (str).

        `python` is the Python of the tests there. What it prints is in `folder`/slurm-ID.out.
        """
        path = Path(folder) / "job.sh"
        path.write_text("#!/bin/bash\n" + script)
        env = {**env, "PATH": f"{Path(sys.executable).parent}:{PATHS}"}
        return self.call("sbatch", "--parsable", "--requeue", "--open-mode=append", *options, str(path),
                         cwd=folder, env=env).strip()

    def job(self, job):
        """Return what `scontrol show job` says (dict of str): JobState, Restarts, NodeList, ExitCode, Reason
        …"""
        text = self.call("scontrol", "show", "job", "--oneliner", job)
        return dict(re.findall(r"(\w+)=(\S*)", text.splitlines()[0]))

    def job_processes(self, job):
        """Return the processes of a job ("7", "7_1"): its script and what came of it (list of
        psutil.Process)."""
        raw = self.job(job)["JobId"]
        return [process for process in self.processes() if environ(process).get("SLURM_JOB_ID") == raw]

    def idle(self, node):
        """Whether a node takes jobs and has none."""
        return self.call("sinfo", "--noheader", "--partition=low", f"--nodes={node}", "--format=%t",
                         check=False).split() == ["idle"]

    def wait(self, job, *states, seconds=90):
        """Wait until a job is in one of `states` (default: it is over); returns what `job` does. Raises
        TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            facts = self.job(job)
            if facts["JobState"] in (states or OVER):
                return facts
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"job {job} is {facts['JobState']} ({facts['Reason']}), "
                    f"not {' or '.join(states or OVER)}")
            time.sleep(0.1)

    def again(self, job, restarts=1, seconds=90):
        """Wait until a requeued job runs again, for the `restarts`th time; Slurm's delay of 120 s is cut to 3
        s (a node refuses a job that comes back within the second). Returns what `job` does."""
        deadline = time.monotonic() + seconds
        earliest = time.monotonic() + 3
        while True:
            facts = self.job(job)
            if int(facts["Restarts"]) >= restarts and facts["JobState"] not in ("PENDING", "COMPLETING"):
                return facts
            if facts["JobState"] == "PENDING" and time.monotonic() > earliest:
                self.call("scontrol", "update", f"jobid={job}", "starttime=now", check=False)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"job {job} is {facts['JobState']} ({facts['Reason']}) and was not started again")
            time.sleep(0.2)


def processes_of(folder):
    """Return the processes (list of psutil.Process) of the Slurm in `folder`: what came of a job without
    leaving its environment, too."""
    return [process for process in psutil.process_iter()
            if environ(process).get("SLURM_CONF") == f"{folder}/slurm.conf"]


def environ(process):
    try:
        return process.environ()
    except (psutil.Error, OSError):     # it ended meanwhile
        return {}


def kill(process):
    try:
        process.kill()
    except psutil.Error:
        pass        # it ended by itself


def sweep(folder):
    """End all processes of the Slurm in `folder` and remove it."""
    while True:
        left = processes_of(folder)
        if not left:
            break
        # first the daemons, which start others
        for process in sorted(left, key=lambda process: "SLURM_JOB_ID" in environ(process)):
            kill(process)
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.read()
    sweep(sys.argv[1])
