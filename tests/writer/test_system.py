"""System samples: against this machine, against recorded cgroup trees, and the real pynvml against a small
NVML library."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from scripts import environment, only, rows, small, train

from runicorn.writer.system import Sampler, on_network

STUB = Path(__file__).parents[1] / "support" / "nvml_stub.c"
GIB = 1 << 30


# -- CPU, memory, disk ---------------------------------------------------------------------------------------

def test_a_sample_of_this_machine(tmp_path):
    sampler = Sampler(tmp_path, cgroup=tmp_path / "none")
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    sample = sampler.sample()
    assert 0 < sample["cpu"] <= 100 and abs(sample["ts"] - time.time()) < 5 and "gpu" not in sample
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(tmp_path))
    assert sample["mem"][1] == memory.total
    assert abs(sample["mem"][0] - (memory.total - memory.available)) < memory.total / 10
    assert sample["disk"][1] == disk.total and abs(sample["disk"][0] - disk.free) < disk.total / 10


def tree(folder, **files):
    """Write the files ("a__b" is a/b) below `folder`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def machine(folder, cgroup, meminfo="MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n"):
    return tree(folder / "proc", self__cgroup=cgroup, meminfo=meminfo, stat="cpu 1 2 3 4 5 6 7 8 0 0\n")


def test_the_limits_of_a_version_2_group(tmp_path):
    proc = machine(tmp_path, "0::/slurm/job_1/step_0\n")
    mount = tmp_path / "cgroup"
    tree(mount / "slurm" / "job_1",
         **{"memory.max": f"{16 * GIB}\n", "memory.current": f"{6 * GIB}\n", "cpu.max": "400000 100000\n",
            "memory.stat": f"anon 1\ninactive_file {GIB}\n"})
    tree(mount / "slurm" / "job_1" / "step_0",
         **{"memory.max": "max\n", "memory.current": "5\n", "cpu.max": "max 100000\n",
            "cpu.stat": "usage_usec 1000000\nuser_usec 5\n"})
    sampler = Sampler(tmp_path, proc=proc, cgroup=mount)
    time.sleep(0.5)
    (mount / "slurm" / "job_1" / "step_0" / "cpu.stat").write_text("usage_usec 2000000\n")
    sample = sampler.sample()
    assert sample["mem"] == [5 * GIB, 16 * GIB]
    # one CPU second of the four a second that are allowed, in half a second or more
    assert 0 < sample["cpu"] <= 50


def test_the_limits_of_a_version_1_group(tmp_path):
    proc = machine(tmp_path, "7:memory:/slurm/job_1\n4:cpu,cpuacct:/slurm/job_1\n0::/\n")
    mount = tmp_path / "cgroup"
    tree(mount / "memory",
         **{"memory.limit_in_bytes": "9223372036854771712\n", "memory.usage_in_bytes": "1\n"})
    tree(mount / "memory" / "slurm" / "job_1",
         **{"memory.limit_in_bytes": f"{8 * GIB}\n", "memory.usage_in_bytes": f"{3 * GIB}\n",
            "memory.stat": f"cache 5\ntotal_inactive_file {GIB}\n"})
    job = tree(mount / "cpu,cpuacct" / "slurm" / "job_1",
               **{"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n",
                 "cpuacct.usage": "1000000000\n"})
    sampler = Sampler(tmp_path, proc=proc, cgroup=mount)
    time.sleep(0.2)
    (job / "cpuacct.usage").write_text("1100000000\n")
    sample = sampler.sample()
    assert sample["mem"] == [2 * GIB, 8 * GIB] and 0 < sample["cpu"] <= 25


def test_without_limits_the_machine_counts(tmp_path):
    mount = tree(tmp_path / "cgroup", **{"memory.max": "max\n", "cpu.max": "max 100000\n"})
    sample = Sampler(tmp_path, proc=machine(tmp_path, "0::/\n"), cgroup=mount).sample()
    assert sample["mem"] == [32 * GIB, 64 * GIB] and "cpu" not in sample


@pytest.mark.parametrize("folder, expected", [
    ("/data/exp", True), ("/database", False), ("/home/a b", True), ("/home", False),
    ("/data/local", False)])
def test_network_file_systems_are_known_by_their_mount(tmp_path, folder, expected):
    mounts = tmp_path / "mountinfo"
    mounts.write_text("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
                      "22 21 0:30 / /data rw,relatime shared:1 - nfs4 server:/data rw\n"
                      "23 22 8:2 / /data/local rw - xfs /dev/sdb rw\n"
                      "24 21 0:31 / /home/a\\040b rw - lustre mgs:/home rw\n")
    assert on_network(folder, mounts) is expected


# -- GPUs ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """The folder of a libnvidia-ml.so.1 that pynvml loads as it would a driver's."""
    return compiled(tmp_path_factory.mktemp("nvml"))


def compiled(folder, *options):
    subprocess.run(["gcc", "-shared", "-fPIC", *options, "-o", str(folder / "libnvidia-ml.so.1"), str(STUB)],
                   check=True)
    return folder


def gpus(stub, tmp_path, code="", **environ):
    """Return what a process that finds the stub sees: (facts, sample)."""
    begin = "import json\nfrom runicorn.writer.system import Gpus\ngpus = Gpus()\n"
    script = f"{begin}{code}\nprint(json.dumps([gpus.facts(), gpus.sample()]))"
    done = subprocess.run([sys.executable, "-c", script],
                          env=environment(tmp_path, LD_LIBRARY_PATH=str(stub), **environ),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


A100 = {"i": 0, "util": 95, "mem": [8 * GIB, 40 * GIB], "temp": 71, "power": 240.5}
# a MIG slice has no utilisation of its own
SMALL_SLICE = {"i": 1, "mem": [2 * GIB, 10 * GIB], "temp": 72, "power": 240.501}
LARGE_SLICE = {"i": 2, "mem": [3 * GIB, 20 * GIB], "temp": 72, "power": 240.501}


def test_all_gpus_where_nothing_is_said(stub, tmp_path):
    facts, sample = gpus(stub, tmp_path)
    assert sample == [A100, SMALL_SLICE, LARGE_SLICE]
    assert facts[0] == {"i": 0, "name": "Stub A100", "uuid": "GPU-aaaa1111-0000", "mem": 40 * GIB}
    assert [fact["name"] for fact in facts] == ["Stub A100", "Stub H100 MIG 1g.10gb", "Stub H100 MIG 2g.20gb"]


RESERVED = 512 << 20         # what the stub's driver keeps for itself


def memory(sample):
    """Return the bytes in use of each device (list of int)."""
    return [device["mem"][0] for device in sample]


def test_memory_in_use_is_what_nvidia_smi_says(stub, tmp_path):
    """The driver's own share is not the training's."""
    assert memory(gpus(stub, tmp_path)[1]) == [8 * GIB, 2 * GIB, 3 * GIB]


@pytest.mark.parametrize("answer, used", [("3", [8 * GIB + RESERVED, 2 * GIB + RESERVED, 3 * GIB + RESERVED]),
                                          ("25", [8 * GIB + RESERVED, 2 * GIB + RESERVED,
                                                  3 * GIB + RESERVED]),
                                          ("-3", [8 * GIB, 2 * GIB + RESERVED, 3 * GIB + RESERVED])],
                         ids=["unsupported", "version", "MIG"])
def test_a_driver_that_refuses_the_second_memory_call(stub, tmp_path, answer, used):
    facts, sample = gpus(stub, tmp_path, STUB_MEMORY=answer)
    assert memory(sample) == used and [fact["mem"] for fact in facts] == [40 * GIB, 10 * GIB, 20 * GIB]


def test_a_driver_without_the_second_memory_call(tmp_path):
    """Drivers before 510."""
    (tmp_path / "old").mkdir()
    assert memory(gpus(compiled(tmp_path / "old", "-DNO_SECOND"), tmp_path)[1])[0] == 8 * GIB + RESERVED


def test_a_pynvml_without_the_second_memory_call(stub, tmp_path):
    """Before 11.510 the function took no version, and there was no constant."""
    code = "import pynvml\ndel pynvml.nvmlMemory_v2\nreal = pynvml.nvmlDeviceGetMemoryInfo\n"
    code += "pynvml.nvmlDeviceGetMemoryInfo = lambda handle: real(handle)"
    assert memory(gpus(stub, tmp_path, code)[1])[0] == 8 * GIB + RESERVED


def test_a_device_lost_is_not_asked_again(stub, tmp_path):
    gone = tmp_path / "gone"
    gone.touch()
    assert memory(gpus(stub, tmp_path, STUB_LOST=str(gone))[1]) == [2 * GIB, 3 * GIB]


@pytest.mark.few(5)
@pytest.mark.parametrize("visible, uuids", [
    ("0", ["GPU-aaaa1111-0000"]), ("", []), ("-1", []), ("NoDevFiles", []),
    ("GPU-aaaa", ["GPU-aaaa1111-0000"]), ("MIG-dddd4444-0000", ["MIG-dddd4444-0000"]),
    ("MIG-dddd,0", ["MIG-dddd4444-0000", "GPU-aaaa1111-0000"]),
    ("1", ["MIG-cccc3333-0000", "MIG-dddd4444-0000"]), ("0,7,1", ["GPU-aaaa1111-0000"]), ("GPU-none,0", []),
])
def test_only_the_jobs_own_devices(stub, tmp_path, visible, uuids):
    facts, _ = gpus(stub, tmp_path, CUDA_VISIBLE_DEVICES=visible)
    assert [fact["uuid"] for fact in facts] == uuids
    assert [fact["i"] for fact in facts] == list(range(len(uuids)))


def test_slurms_list_counts_without_cudas(stub, tmp_path):
    assert [fact["uuid"] for fact in gpus(stub, tmp_path, SLURM_JOB_GPUS="0")[0]] == ["GPU-aaaa1111-0000"]
    # two are visible: the site hides the others itself
    assert len(gpus(stub, tmp_path, SLURM_JOB_GPUS="4,5")[0]) == 3


def test_a_device_of_another_job_is_left_out(stub, tmp_path):
    assert [fact["name"] for fact in gpus(stub, tmp_path, STUB_DENIED="1")[0]] == ["Stub A100"]


def test_a_device_lost_in_mid_run_is_left_out_from_then_on(stub, tmp_path):
    gone = tmp_path / "gone"
    code = "assert len(gpus.sample()) == 3\nimport os\nopen(os.environ['STUB_LOST'], 'w').close()"
    _, sample = gpus(stub, tmp_path, code, STUB_LOST=str(gone))
    assert sample == [SMALL_SLICE, LARGE_SLICE]


@pytest.mark.parametrize("answer", ["9", "12", "999"])     # driver not loaded, library not found, unknown
def test_a_driver_that_fails_is_no_gpu(stub, tmp_path, answer):
    assert gpus(stub, tmp_path, STUB_INIT=answer) == [[], []]


def test_no_driver_and_no_pynvml_are_silent(tmp_path):
    assert gpus(tmp_path, tmp_path) == [[], []]
    script = ("import sys\nsys.modules['pynvml'] = None\nfrom runicorn.writer.system import Gpus\n"
              "assert Gpus().sample() == []")
    subprocess.run([sys.executable, "-c", script], env=environment(tmp_path), check=True, timeout=60)


def test_a_run_samples_the_system_and_names_its_gpus(stub, tmp_path):
    code = ("import time, runicorn\nrun = runicorn.init(project='p', name='n')\n"
            "file = run.dir / 'system.jsonl'\n")
    code += "while not (file.exists() and file.stat().st_size):\n    time.sleep(0.1)\n"
    train(tmp_path, code, LD_LIBRARY_PATH=str(stub), CUDA_VISIBLE_DEVICES="0")
    sample = rows(only(tmp_path), "system.jsonl")[0]
    assert set(sample) == {"ts", "cpu", "mem", "disk", "gpu"} and sample["gpu"] == [A100]
    assert small(only(tmp_path), "meta")["gpus"][0]["name"] == "Stub A100"


def test_system_false_samples_nothing(tmp_path):
    train(tmp_path,
          "import time, runicorn\nrun = runicorn.init(project='p', name='n', system=False)\ntime.sleep(2.3)")
    assert "system.jsonl" not in os.listdir(only(tmp_path))
