"""Samples of CPU, memory, disk and GPUs: only what this job may use. The only door to pynvml; without it, or
a driver, no GPUs."""

import os
import time

from runicorn.writer import processes
from runicorn.writer.notice import uncut

NETWORK = ("nfs", "lustre", "gpfs", "beegfs", "fuse", "cifs", "smb", "ceph", "glusterfs", "9p", "afs",
           "panfs", "wekafs", "orangefs")
UNLIMITED = 1 << 60         # bytes; cgroup v1 says "no limit" with a number near 2**63


class Sampler:
    """One sample a call, from /proc and the cgroup of this process; where there is none of that, what can be
    known.

    disk: a folder on the disk whose free space counts. proc, cgroup: where procfs and cgroupfs are mounted.
    """

    def __init__(self, disk, environ=os.environ, proc="/proc", cgroup="/sys/fs/cgroup"):
        self._disk = os.fspath(disk)
        self._proc, self._group = proc, Cgroup(proc, cgroup)
        self._cpu = self._cpu_times()
        self.gpus = Gpus(environ)

    def sample(self):
        """Return {"ts": Unix seconds, "cpu": percent of the job's CPUs since the last call, "mem": [used,
        total] bytes, "disk": [free, total] bytes, "gpu": [{"i", "util" %, "mem": [used, total] bytes, "temp"
        °C, "power" W}, …]}; what can't be known is left out."""
        sample = {"ts": round(time.time(), 3)}
        values = {"cpu": self._cpu_percent(), "mem": self._memory(), "disk": self._disk_space(),
                  "gpu": self.gpus.sample()}
        sample.update((key, value) for key, value in values.items() if value not in (None, []))
        return sample

    def _cpu_times(self):
        """Return (busy, possible) CPU seconds so far, or None."""
        quota = self._group.cpu_quota()
        used = self._group.cpu_seconds() if quota else None
        if used is not None:
            return used, time.monotonic() * quota
        try:
            mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
            lines = [line.split() for line in _lines(f"{self._proc}/stat") if line.startswith("cpu")]
        except (AttributeError, OSError):
            return processes.cpu_times()
        busy = total = 0
        for name, *ticks in lines:
            if name in mine:
                # The rest, guest time, is counted in user already
                ticks = [int(tick) for tick in ticks[:8]]
                total += sum(ticks)
                busy += sum(ticks) - sum(ticks[3:5])            # idle and iowait
        return (busy, total) if total else None

    def _cpu_percent(self):
        before, self._cpu = self._cpu, self._cpu_times()
        if before is None or self._cpu is None or self._cpu[1] <= before[1]:
            return None
        return round(min(100.0, max(0.0, 100.0 * (self._cpu[0] - before[0]) / (self._cpu[1] - before[1]))), 1)

    def _memory(self):
        try:
            fields = dict(line.split(":", 1) for line in _lines(f"{self._proc}/meminfo"))
            total, free = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        except (OSError, KeyError, ValueError):
            return processes.memory()
        limited = self._group.memory()
        if limited and limited[1] < total:
            return list(limited)
        return [total - free, total]

    def _disk_space(self):
        try:
            # shutil, which says the same, loads every compressor: 4 ms of init
            if hasattr(os, "statvfs"):
                _, size, total, _, free, *_ = os.statvfs(self._disk)
                return [size * free, size * total]
            import shutil
            return [*shutil.disk_usage(self._disk)[::-2]]
        except OSError:
            return None


class Cgroup:
    """The limits of the control group this process is in, version 2 or 1: the tightest on the way up
    counts."""

    def __init__(self, proc, mount):
        self._folders = {}                  # controller -> folders from the process's group up to the mount
        for line in _lines(f"{proc}/self/cgroup"):      # none where it is not Linux
            _, controllers, path = line.split(":", 2)
            for name in controllers.split(",") if controllers else ["v2"]:
                top = f"{mount}/{controllers if os.path.isdir(f'{mount}/{controllers}') else name}"
                self._folders[name] = _upwards(mount if name == "v2" else top, path)

    def cpu_quota(self):
        """Return how many CPUs' worth of time the group gets (float), or None for no limit."""
        quotas = []
        for folder in self._folders.get("v2", []):
            words = (_text(f"{folder}/cpu.max") or "max").split()
            if words[0] != "max":
                quotas.append(int(words[0]) / int(words[1]))
        for folder in self._folders.get("cpu", []):
            quota, period = _number(f"{folder}/cpu.cfs_quota_us"), _number(f"{folder}/cpu.cfs_period_us")
            if quota and quota > 0 and period:
                quotas.append(quota / period)
        return min(quotas) if quotas else None

    def cpu_seconds(self):
        """Return the CPU seconds the group has used (float), or None."""
        for folder in self._folders.get("v2", [])[:1]:
            usec = _field(f"{folder}/cpu.stat", "usage_usec")
            if usec is not None:
                return usec / 1e6
        for folder in self._folders.get("cpuacct", [])[:1]:
            used = _number(f"{folder}/cpuacct.usage")
            if used is not None:
                return used / 1e9
        return None

    def memory(self):
        """Return (used, limit) in bytes of the group with the tightest limit, or None; page cache that can go
        is not used."""
        names = {"v2": ("memory.max", "memory.current", "inactive_file"),
                 "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")}
        groups = [(_number(f"{folder}/{limit}"), _number(f"{folder}/{used}"),
                   _field(f"{folder}/memory.stat", cache)) for kind, (limit, used, cache) in names.items()
                  for folder in self._folders.get(kind, [])]
        limits = [(limit, max(0, used - (cache or 0)))
                  for limit, used, cache in groups if limit and used is not None and limit < UNLIMITED]
        return min(limits)[::-1] if limits else None


def _upwards(top, path):
    """Return the folders from `top`/`path` up to `top`; in a container the path is the host's, and only `top`
    is there."""
    parts = [name for name in path.split("/") if name not in ("", "..")]
    folders = [os.path.join(top, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    return [folder for folder in folders if os.path.isdir(folder)]


def _text(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def _lines(path):
    return (_text(path) or "").splitlines()


def _number(path):
    text = (_text(path) or "").strip()
    return int(text) if text.lstrip("-").isdecimal() else None


def _field(path, name):
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def on_network(folder, mounts="/proc/self/mountinfo"):
    """Whether `folder` lies on a network file system (proc_pid_mountinfo(5): field 5 is the mount point,
    after "-" the type)."""
    longest, kind = "", ""
    path = os.path.realpath(folder)
    for line in _lines(mounts):
        head, _, tail = line.partition(" - ")
        point = head.split()[4].encode().decode("unicode_escape") if len(head.split()) > 4 else ""
        if len(point) >= len(longest) and (path + "/").startswith(point.rstrip("/") + "/"):
            longest, kind = point, tail.split()[0]
    return kind.startswith(NETWORK)


class Gpus:
    """The GPUs this job may use, by NVML. Every question may fail by itself; its answer is then left out."""

    def __init__(self, environ=os.environ):
        self._devices = []          # (number, handle, handle of the whole GPU)
        self._lost = set()
        try:
            with uncut():
                import pynvml
            self._nvml = pynvml
            pynvml.nvmlInit()
        # Not installed, no driver, a driver that does not fit: then there are no GPUs to show
        except Exception:
            return
        try:
            self._devices = list(enumerate_devices(pynvml, environ))
        except pynvml.NVMLError:
            self._devices = []      # a driver in trouble

    def facts(self):
        """Return [{"i", "name", "uuid", "mem": bytes}, …] of the devices."""
        devices = []
        for number, handle, _ in self._devices:
            memory, name, uuid = (self._memory(handle), self._ask("nvmlDeviceGetName", handle),
                                  self._ask("nvmlDeviceGetUUID", handle))
            devices.append({"i": number, "name": _word(name), "uuid": _word(uuid),
                            "mem": memory.total if memory else None})
        return devices

    def sample(self):
        """Return [{"i", "util", "mem", "temp", "power"}, …]; a device that fell off the bus is not in it."""
        return [sample for sample in map(self._sample, self._devices) if len(sample) > 1]

    def _sample(self, device):
        number, handle, gpu = device
        sample = {"i": number}
        if number in self._lost:
            return sample
        utilisation = self._ask("nvmlDeviceGetUtilizationRates", handle, number)
        memory = self._memory(handle, number)
        temperature = self._ask("nvmlDeviceGetTemperature", gpu, number, self._nvml.NVML_TEMPERATURE_GPU)
        power = self._ask("nvmlDeviceGetPowerUsage", gpu, number)
        if utilisation is not None:
            sample["util"] = utilisation.gpu
        if memory is not None:
            sample["mem"] = [memory.used, memory.total]
        if temperature is not None:
            sample["temp"] = temperature
        if power is not None:
            sample["power"] = power / 1000          # NVML answers in milliwatts
        return sample

    def _memory(self, handle, number=None):
        """Return NVML's memory answer with "used" as nvidia-smi says it: the first version of the call counts
        what the driver keeps for itself as used. A driver, a MIG device or a pynvml that does not know the
        second is asked by the first."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        second = version and self._ask("nvmlDeviceGetMemoryInfo", handle, number, version)
        return second or self._ask("nvmlDeviceGetMemoryInfo", handle, number)

    def _ask(self, question, handle, number=None, *arguments):
        try:
            return getattr(self._nvml, question)(handle, *arguments)
        except self._nvml.NVMLError as error:
            if error.value == self._nvml.NVML_ERROR_GPU_IS_LOST and number is not None:
                self._lost.add(number)
            return None             # not supported on this device (utilisation of a MIG slice), no permission


def enumerate_devices(nvml, environ):
    """Yield (number, handle, handle of the whole GPU) for each device of the job, in CUDA's order.

    CUDA_VISIBLE_DEVICES lists indexes, UUIDs or the beginnings of UUIDs ("GPU-…", "MIG-…"); CUDA stops at the
    first that is none (CUDA C++ Programming Guide, "CUDA Environment Variables"). Without it Slurm's list
    counts, then all that are there.
    """
    wholes = list(_wholes(nvml))
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        slurm = environ.get("SLURM_STEP_GPUS") or environ.get("SLURM_JOB_GPUS")
        # As many as visible: Slurm hid the others and counts anew
        if slurm and len(slurm.split(",")) < len(wholes):
            chosen = slurm
    if chosen is None:
        devices = [device for gpu in wholes for device in _parts(nvml, gpu)]
    else:
        devices = list(_chosen(nvml, wholes, chosen))
    for number, (handle, gpu) in enumerate(devices):
        yield number, handle, gpu


def _wholes(nvml):
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            yield nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError:
            continue                # another job's, or lost: not ours to show


def _parts(nvml, gpu):
    """Yield (handle, whole) for a GPU, or for each of its MIG devices if it is divided."""
    parts = []
    try:
        if nvml.nvmlDeviceGetMigMode(gpu)[0]:
            for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
                try:
                    parts.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index))
                except nvml.NVMLError:
                    continue        # slots may be empty
    except nvml.NVMLError:
        pass                        # a GPU that knows no MIG
    return [(instance, gpu) for instance in parts] or [(gpu, gpu)]


def _chosen(nvml, wholes, chosen):
    for word in chosen.split(","):
        word = word.strip()
        if word.isdecimal():
            if int(word) >= len(wholes):
                return
            yield from _parts(nvml, wholes[int(word)])
            continue
        named = [pair for gpu in wholes for pair in [(gpu, gpu)] + _parts(nvml, gpu)
                 if _is_named(nvml, pair[0], word)]
        if not named:
            return
        yield named[0]


def _is_named(nvml, handle, word):
    try:
        return word.startswith(("GPU-", "MIG-")) and _word(nvml.nvmlDeviceGetUUID(handle)).startswith(word)
    except nvml.NVMLError:
        return False


def _word(answer):
    """pynvml answered in bytes before version 11.5."""
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
