"""Launches of several ranks, as real processes with the launchers' environment, and under the real
torchrun."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from ranks import BEGIN, torchrun
from scripts import environment, only, rows, runs, shown, small, start, train

from runicorn.reader.liveness import judge, with_ranks
from runicorn.writer import live, ranks

# -- ranks ---------------------------------------------------------------------------------------------------

RANK = BEGIN + textwrap.dedent("""
    import pathlib
    rank = int(os.environ["RANK_HERE"])
    time.sleep(float(os.environ.get("LATE", "0")))
    run = runicorn.init(project="p", name="n", **OPTIONS)
    for step in range(20):
        run.log({"rank": rank, "loss": 1 / (step + 1)}, step=step)
    print("rank", rank, "prints")
    pathlib.Path(f"done{rank}").touch()
    while len(list(pathlib.Path(".").glob("done*"))) < 4:
        time.sleep(0.05)
    time.sleep(float(os.environ.get("LINGER", "0.1")))
    """)


def launch(folder, options="{}", environ=lambda rank: {}):
    """Run the four ranks at once; returns their stderrs."""
    code = f"OPTIONS = {options}\n" + RANK
    processes = [start(folder, code, name="train.py", RANK_HERE=str(rank), **environ(rank))
                 for rank in range(4)]
    ended = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ended
    return [err for _, err in ended]


def test_only_rank_0_is_recorded_and_the_others_say_so_once(tmp_path):
    said = launch(tmp_path, environ=torchrun)
    assert {row["data"]["rank"] for row in rows(only(tmp_path))} == {0} and len(rows(only(tmp_path))) == 20
    assert said[0] == "" and small(only(tmp_path), "meta")["world_size"] == 4
    assert said[3] == ("runicorn: rank 3 of 4 is not recorded (rank 0 is). all_ranks=True records it; "
                       "rank=None if these are separate experiments.\n")


@pytest.mark.parametrize("late", [0, 3])
def test_all_ranks_write_into_one_run_each_its_own_file(tmp_path, late):
    """Rank `late` begins a second after the others; with 0 the others have to wait for the folder."""
    launch(tmp_path, "dict(all_ranks=True)",
           lambda rank: {**torchrun(rank), "LATE": "1.2" if rank == late else "0"})
    run = only(tmp_path)
    for rank in range(4):
        name = f"events.rank{rank}.jsonl" if rank else "events.jsonl"
        assert [row["step"] for row in rows(run, name)] == list(range(20))
        assert {row["data"]["rank"] for row in rows(run, name)} == {rank}
        assert f"rank {rank} prints" in shown(run, f"logs.rank{rank}.txt" if rank else "logs.txt")
    assert small(run, "status")["status"] == "finished"


def test_all_ranks_of_a_resumed_run_write_the_same_attempt(tmp_path):
    for _ in range(2):
        launch(tmp_path, "dict(all_ranks=True, id='abc', resume='allow')", torchrun)
        for done in tmp_path.glob("done*"):
            done.unlink()
    names = {name for name in os.listdir(only(tmp_path)) if name.startswith("events")}
    assert names == {"events.jsonl", "events.2.jsonl"} | {
        f"events.rank{rank}{middle}.jsonl" for rank in (1, 2, 3) for middle in ("", ".2")}


def test_a_leftover_of_an_earlier_launch_is_not_joined(tmp_path):
    """MASTER_ADDR:MASTER_PORT is the same every time; rank 0 of yesterday was killed and left its live
    file."""
    code = BEGIN + "runicorn.init(project='p', name='n', all_ranks=True)\nos.kill(os.getpid(), 9)"
    dead = start(tmp_path, code, name="dead.py", **torchrun(0))
    dead.communicate()
    leftover = only(tmp_path)
    launch(tmp_path, "dict(all_ranks=True)", torchrun)
    assert len(runs(tmp_path)) == 2 and os.listdir(leftover).count("events.rank1.jsonl") == 0
    run, = (run for run in runs(tmp_path) if run != leftover)
    assert (run / "events.rank3.jsonl").is_file()


@pytest.mark.few(4)
@pytest.mark.parametrize("path, run_id",
                         [("p/n/runs/..", ".."), ("p/n/runs/../../../outside", "a"),
                          ("p/n/runs/a/../../b", "a"), ("p/n/runs/a\\..\\..\\..\\b", "a"),
                          ("p/n/runs/b", "a"), ("p/m/runs/a", "a"), ("p/n/runs/", ""),
                          ("/outside", "a"), (["p/n/runs/a"], "a"), (None, None)], ids=str)
def test_a_live_file_that_names_another_place_than_its_run_s_is_not_joined(tmp_path, path, run_id):
    live, outside = tmp_path / "root" / ".runicorn" / "live", tmp_path / "outside"
    for folder in (live, outside, tmp_path / "root/p/n/runs"):
        folder.mkdir(parents=True)
    (live / "x.json").write_text(
        json.dumps({"path": path, "id": run_id, "launch": ranks.launch_key(torchrun(1)), "pid": os.getpid(),
                    "host": socket.gethostname(), "attempt": 1}))
    before = sorted(map(str, tmp_path.rglob("*")))
    _, said = train(tmp_path, BEGIN + "runicorn.init(project='p', name='n', all_ranks=True).log({'a': 1})",
                    **torchrun(1))
    run = only(tmp_path)
    assert "found no rank 0" in said and rows(run)[0]["data"] == {"a": 1}
    assert run.parent == tmp_path / "root/p/n/runs"
    assert [file for file in before if not os.path.exists(file)] == [] and list(outside.iterdir()) == []


def test_a_rank_without_rank_0_has_a_run_of_its_own(tmp_path):
    code = (BEGIN + "run = runicorn.init(project='p', name='n', all_ranks=True)\nrun.log({'a': 1})\n"
                    "run.summary({'best': 1})")
    _, said = train(tmp_path, code, **torchrun(2))
    assert "found no rank 0" in said and rows(only(tmp_path))[0]["data"] == {"a": 1}
    assert small(only(tmp_path), "summary")["best"] == 1
    assert small(only(tmp_path), "status")["status"] == "finished"


@pytest.mark.few(1)
@pytest.mark.parametrize("environ", [
    lambda rank: {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "4", "SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0"},
    lambda rank: {},
], ids=["srun", "shells"])
def test_independent_scripts_stay_four_runs(tmp_path, environ):
    """`srun -n4 python sweep.py`, and four shells."""
    assert launch(tmp_path, environ=environ) == [""] * 4
    assert all(len(rows(run)) == 20 for run in runs(tmp_path))
    assert sorted(rows(run)[0]["data"]["rank"] for run in runs(tmp_path)) == [0, 1, 2, 3]


def test_rank_none_says_that_they_are_separate(tmp_path):
    launch(tmp_path, "dict(rank=None)", torchrun)
    assert len(runs(tmp_path)) == 4


# -- which launch --------------------------------------------------------------------------------------------

SAME_HOST = ["127.0.0.1", "127.0.1.1", "127.1", "localhost", "LOCALHOST", "localhost.",
             "localhost.localdomain", "localhost4", "ip6-localhost", "trainer.localhost", "::1", "[::1]",
             "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "0.0.0.0", "::"]
OTHER_HOST = ["10.0.0.1", "node1", "node1.example.org", "127node", "localhosts", "::2", "fe80::1",
              "2001:db8::1", "128.0.0.1", "1270.0.0.1", ""]


@pytest.mark.parametrize("address", SAME_HOST)
def test_an_address_that_is_every_hosts_own(address):
    assert ranks.is_loopback(address)


@pytest.mark.parametrize("address", OTHER_HOST)
def test_an_address_that_names_one_host(address):
    assert not ranks.is_loopback(address)


STEP = {"SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "1"}
MEETING = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
ELASTIC = {"TORCHELASTIC_RUN_ID": "100", "WORLD_SIZE": "4"}


@pytest.mark.parametrize("one, other", [
    ({**MEETING}, {**MEETING, "MASTER_PORT": "29501"}),
    ({**MEETING}, {**MEETING, "MASTER_ADDR": "node2"}),
    ({**MEETING, "WORLD_SIZE": "2"}, {**MEETING, "WORLD_SIZE": "4"}),
    ({**ELASTIC, **MEETING}, {**ELASTIC, **MEETING, "MASTER_PORT": "29501"}),
    ({**ELASTIC, **MEETING}, {**ELASTIC, **MEETING, "TORCHELASTIC_RUN_ID": "101"}),
    ({**STEP, **MEETING}, {**STEP, **MEETING, "MASTER_PORT": "29501"}),
    ({**STEP, **MEETING}, {**STEP, **MEETING, "SLURM_STEP_ID": "1"}),
    ({**STEP, **MEETING}, {**STEP, **MEETING, "SLURM_RESTART_COUNT": "1"}),
    ({**STEP, **MEETING}, {**STEP, **MEETING, "SLURM_JOB_ID": "6"}),
    ({**STEP, **MEETING}, {**STEP, **MEETING, "SLURM_CLUSTER_NAME": "b"}),
    ({**STEP}, {**STEP, **MEETING}),
], ids=str)
def test_two_launches_have_two_keys(one, other):
    assert ranks.launch_key(one) == ranks.launch_key(dict(one)) != ranks.launch_key(other)


@pytest.mark.parametrize("one, other", [
    ({**ELASTIC, **MEETING, "TORCHELASTIC_RESTART_COUNT": "0"},
     {**ELASTIC, **MEETING, "TORCHELASTIC_RESTART_COUNT": "1"}),
    ({**MEETING, "RANK": "0", "LOCAL_RANK": "0"}, {**MEETING, "RANK": "3", "LOCAL_RANK": "1"}),
    ({**STEP, **MEETING, "GROUP_WORLD_SIZE": "2"},
     {**STEP, **MEETING, "GROUP_WORLD_SIZE": "2", "SLURM_STEP_ID": "1"}),
], ids=["each node counts its own failures", "rank", "one srun a node"])
def test_the_ranks_of_one_launch_have_one_key(one, other):
    assert ranks.launch_key(one) == ranks.launch_key(other) is not None


def test_nothing_that_names_a_launch_is_no_key():
    assert {ranks.launch_key(environ)
            for environ in ({}, {"SLURM_JOB_ID": "5"}, {"MASTER_ADDR": "node1"})} == {None}


# One rank of two; HOST plays another machine, AHEAD a clock that is wrong, LATE a slow start.
HOSTED = textwrap.dedent("""
    import os, signal, sys, time
    uname, ahead, clock = os.uname(), float(os.environ.get("AHEAD", "0")), time.time
    if "HOST" in os.environ:
        os.uname = lambda: os.uname_result((uname.sysname, os.environ["HOST"], *uname[2:]))
    time.time = lambda: clock() + ahead
    time.sleep(float(os.environ.get("LATE", "0")))
    import runicorn, runicorn.writer.live
    runicorn.writer.live.BEAT_SECONDS = 0.3
    me = {"launch": os.environ["LAUNCH"], "rank": os.environ["RANK"]}
    """)
LOGS = HOSTED + textwrap.dedent("""
    run = runicorn.init(project="p", name="n", all_ranks=True)
    open(f"begun-{os.getpid()}", "w").close()
    while sum(name.startswith("begun-") for name in os.listdir(".")) < int(os.environ.get("TOGETHER", "0")):
        time.sleep(0.05)
    for step in range(5):
        run.log(me, step=step)
    time.sleep(float(os.environ.get("LINGER", "0")))
    if "KILLED" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    """)


def two(rank, launch, **more):
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LAUNCH": launch,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29513", **more}


def together(folder, environs, code=LOGS):
    """Run `code` once for each environment, all at once; returns their stderrs."""
    processes = [start(folder, code, name="train.py", **environ) for environ in environs]
    return [process.communicate(timeout=90)[1] for process in processes]


def written(folder):
    """Return {run: {events file: launches whose rows are in it}}, each file holding the rows of one rank."""
    return {run.name: {file.name: {row["data"]["launch"] for row in rows(run, file.name)}
                       for file in run.glob("events*")}
            for run in runs(folder)}


def launches_of(folder):
    """Return the launches of each run (sorted list of lists)."""
    return sorted(sorted({launch for launches in files.values() for launch in launches})
                  for files in written(folder).values())


@pytest.mark.few(1)
@pytest.mark.parametrize("more",
                         [{"TORCHELASTIC_RUN_ID": "none"}, {"TORCHELASTIC_RUN_ID": "100"},
                          {"MASTER_ADDR": "localhost"}, {"SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0"}], ids=str)
def test_two_hosts_that_meet_at_their_own_loopback_have_two_runs(tmp_path, more):
    said = together(tmp_path,
                    [two(rank, host, HOST=host, TOGETHER="4", LINGER="3", **more) for host in ("a", "b")
                     for rank in (0, 1)])
    assert said == [""] * 4
    assert launches_of(tmp_path) == [["a"], ["b"]]
    assert all(len(files) == 2 for files in written(tmp_path).values())


@pytest.mark.few("one host-killed")
@pytest.mark.parametrize("end", [{}, {"KILLED": "1"}], ids=["finished", "killed"])
@pytest.mark.parametrize("hosts", [{}, {"MASTER_ADDR": "node-a"}], ids=["one host", "two hosts"])
def test_three_launches_in_a_row_are_three_runs(tmp_path, end, hosts):
    """The third's rank 0 begins after rank 1 has ended: it can't be found, and the runs before are not taken
    for it."""
    second = [{"HOST": "a", "AHEAD": "-3600"}, {"HOST": "b", "AHEAD": "3600"}] if hosts else [{}, {}]
    for launch in ("one", "two"):
        together(tmp_path, [two(0, launch, LINGER="2.5", **hosts, **end, **second[0]),
                            two(1, launch, LINGER="2", **hosts, **second[1])])
    if hosts and end:
        time.sleep(2)
        for file in (tmp_path / "root/.runicorn/live").glob("*.json"):          # killed half a minute ago
            os.utime(file, (time.time() - 30,) * 2)
    together(tmp_path,
             [two(0, "three", LATE="3", **hosts, **second[0]), two(1, "three", **hosts, **second[1])])
    assert launches_of(tmp_path) == [["one"], ["three"], ["three"], ["two"]]
    assert sum("events.rank1.jsonl" in files for files in written(tmp_path).values()) == 2


def test_a_rank_joins_a_rank_0_on_another_host_whatever_the_clocks_say(tmp_path):
    together(tmp_path, [two(0, "one", HOST="a", MASTER_ADDR="a", AHEAD="-86400", LINGER="2"),
                        two(1, "one", HOST="b", MASTER_ADDR="a", AHEAD="86400", LINGER="1", LATE="0.5")])
    assert written(tmp_path)[only(tmp_path).name] == {"events.jsonl": {"one"}, "events.rank1.jsonl": {"one"}}


def test_a_short_rank_finds_a_rank_0_that_has_just_ended(tmp_path):
    together(tmp_path, [two(0, "one", LATE="0.2"), two(1, "one", LINGER="1.5")])
    assert written(tmp_path)[only(tmp_path).name] == {"events.jsonl": {"one"}, "events.rank1.jsonl": {"one"}}


@pytest.mark.long
def test_runs_begun_one_after_another_by_all_ranks_are_never_mixed(tmp_path):
    """Rank 1 is through with its first run before rank 0 is, and its second must wait for rank 0's second."""
    code = HOSTED + textwrap.dedent("""
        for trial in range(3):
            with runicorn.init(project="p", name="n", all_ranks=True) as run:
                for step in range(4):
                    run.log({"trial": trial, **me}, step=step)
                    time.sleep(0.4 if me["rank"] == "0" else 0.35)
        time.sleep(1)
        """)
    together(tmp_path, [two(rank, "one") for rank in (0, 1)], code)
    assert len(runs(tmp_path)) == 3
    for run in runs(tmp_path):
        trials = [{row["data"]["trial"] for row in rows(run, name)}
                  for name in ("events.jsonl", "events.rank1.jsonl")]
        assert trials[0] == trials[1] and len(trials[0]) == 1


def test_two_processes_of_one_rank_never_write_one_file(tmp_path):
    """A rank of an earlier launch still looks for its rank 0 when the next launch begins."""
    together(tmp_path, [two(1, "stuck", LINGER="4"), two(0, "one", LATE="0.5", LINGER="4"),
                        two(1, "one", LATE="1", LINGER="3")])
    assert sorted(written(tmp_path)[only(tmp_path).name]) == [
        "events.jsonl", "events.rank1.2.jsonl", "events.rank1.jsonl"]
    assert all(len(launches) == 1 for launches in written(tmp_path)[only(tmp_path).name].values())


def test_another_users_rank_0_is_not_joined(tmp_path):
    """Both users' scripts meet at the same host and port, one after the other, in one root."""
    zero = start(tmp_path, LOGS, **two(0, "theirs", LINGER="4"))
    code = LOGS.replace("runicorn.writer.live.BEAT", "import runicorn.writer.rank_run as o\n"
                        "o.probe = lambda folder: "
                        "runicorn.writer.live.Probe(runicorn.writer.live.probe(folder).time, 4711)\n"
                        "runicorn.writer.live.BEAT")
    together(tmp_path, [two(1, "mine", LATE="1", LINGER="1.5")], code)
    zero.communicate(timeout=60)
    assert launches_of(tmp_path) == [["mine"], ["theirs"]]
    assert live.probe(tmp_path).user == os.stat(tmp_path).st_uid


def test_a_live_file_whose_process_number_is_another_process_is_a_leftover(tmp_path):
    together(tmp_path, [two(0, "old", KILLED="1")])
    file, = (tmp_path / "root/.runicorn/live").glob("*.json")
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "pid": os.getpid()}))          # alive, and began at another time
    together(tmp_path, [two(1, "new", LINGER="1.5")])
    assert launches_of(tmp_path) == [["new"], ["old"]]


# -- the real torchrun ---------------------------------------------------------------------------------------

TORCHRUN = textwrap.dedent("""
    import os, time
    import torch.distributed as dist
    import runicorn
    dist.init_process_group("gloo")
    run = runicorn.init(project="p", name="n", all_ranks=True, rank="auto")
    run.log({"launch": os.environ["LAUNCH"], "rank": dist.get_rank()})
    dist.barrier()
    time.sleep(1.5)
    dist.barrier()
    """)


def torchrun_process(folder, *options, code=TORCHRUN, **environ):
    script = folder / "ddp.py"
    script.write_text(code)
    command = ([sys.executable, "-m", "torch.distributed.run", *options]
               + ([] if "--no-python" in options else [str(script)]))
    return subprocess.Popen(command, cwd=folder, env=environment(folder, OMP_NUM_THREADS="1", **environ),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def torchrun_ends(process, expect=0):
    """Wait for a torchrun, which must end with `expect`; returns what it said."""
    try:
        said = process.communicate(timeout=120)[1]
    finally:
        process.terminate()         # it takes its workers along
        process.wait(timeout=60)
    assert process.returncode == expect, said
    return said


@pytest.mark.frameworks
def test_launches_of_the_real_torchrun_are_kept_apart(tmp_path):
    """Two at once that were given the same id, as the tutorials have it, then one more."""
    options = "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--rdzv-id=100"
    both = [torchrun_process(tmp_path, *options, LAUNCH=launch) for launch in ("one", "two")]
    said = ([torchrun_ends(process) for process in both]
            + [torchrun_ends(torchrun_process(tmp_path, *options, LAUNCH="three"))])
    assert launches_of(tmp_path) == [["one"], ["three"], ["two"]], said
    assert all(sorted(files) == ["events.jsonl", "events.rank1.jsonl"]
               for files in written(tmp_path).values())


RESTARTED = textwrap.dedent("""
    import os, pathlib, sys, time
    import runicorn
    run = runicorn.init(project="p", name="n", all_ranks=True)
    count = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    run.log({"launch": os.environ["LAUNCH"], "count": count, "attempt": run.attempt})
    here = pathlib.Path(os.environ["LAUNCH"])
    here.mkdir(exist_ok=True)
    while not run.path:
        time.sleep(0.05)
    (here / f"{count}.{os.environ['RANK']}").touch()
    while len(list(here.glob(f"{count}.*"))) < 2:
        time.sleep(0.05)
    time.sleep(0.2)
    sys.exit(count < 2 and os.environ["RANK"] == "1")
    """)


@pytest.mark.few("an id", tier="frameworks")
@pytest.mark.parametrize("options", [[], ["--standalone"], [
    "--no-python", "bash", "-c", "\"$0\" -u ddp.py; exit $?", sys.executable]],
                         ids=["no id", "an id", "a wrapper"])
def test_workers_that_torchrun_restarts_go_on_with_their_run(tmp_path, options):
    # without an id, the agent alone tells two launches apart
    launches = ["one"] if options else ["one", "two"]
    for launch in launches:
        said = torchrun_ends(torchrun_process(tmp_path, "--nproc-per-node=2", "--max-restarts=3", *options,
                                              code=RESTARTED, LAUNCH=launch))
    assert launches_of(tmp_path) == [[launch] for launch in launches], said
    for run in runs(tmp_path):
        assert [len(rows(run, f"events{rank}{n}.jsonl")) for rank in ("", ".rank1")
                for n in ("", ".2", ".3")] == [1] * 6
        assert [row["data"]["count"] for n in ("", ".2", ".3")
                for row in rows(run, f"events.rank1{n}.jsonl")] == [0, 1, 2]
        assert small(run, "status")["status"] == "finished" and len(small(run, "status")["attempts"]) == 3


@pytest.mark.frameworks
@pytest.mark.parametrize("all_ranks, crashes", [(False, 0), (True, 0), (True, 1)])
def test_a_rank_that_raises_the_first_time_has_finished_once_torchrun_restarted_it(
        tmp_path, all_ranks, crashes):
    code = textwrap.dedent(f"""
        import os, pathlib, time
        import runicorn
        run = runicorn.init(project="p", name="n", all_ranks={all_ranks})
        rank, count = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        for loss in range(3):
            run.log({{"loss": 10 * count + loss}})
        while {all_ranks} and not run.path:
            time.sleep(0.05)
        pathlib.Path(f"{{count}}.{{rank}}").touch()
        while len(list(pathlib.Path(".").glob(f"{{count}}.*"))) < 2:
            time.sleep(0.05)
        if (rank, count) == ({crashes}, 0):
            raise RuntimeError("no memory")
        time.sleep(30 if count == 0 else 0.2)
        """)
    said = torchrun_ends(torchrun_process(tmp_path, "--nproc-per-node=2", "--max-restarts=2", code=code))
    run, names = only(tmp_path), ["status"] + ["status.rank1", "status.rank1.2"] * all_ranks
    status = small(run, "status")
    assert (status["status"], status["exit_code"], status.get("error")) == ("finished", 0, None), said
    assert [(attempt["n"], attempt["from_step"]) for attempt in status["attempts"]] == [(1, 0), (2, 3)]
    assert [[row["data"]["loss"] for row in rows(run, f"events{n}.jsonl")] for n in ("", ".2")] == [
        [0, 1, 2], [10, 11, 12]]
    assert sorted(file.stem for file in run.glob("status*")) == sorted(names)
    if all_ranks:
        said = [small(run, name).get("error") or small(run, name)["status"] for name in names[1:]]
        assert said == ["RuntimeError: no memory" if crashes else "interrupted", "finished"]
        assert with_ranks(judge(status, None), status,
                          {(2, 1): small(run, names[2]), (1, 1): small(run, names[1])}).text == "finished"


@pytest.mark.frameworks
def test_a_rank_0_whose_own_node_did_not_fail_goes_on_too(tmp_path):
    """Each agent counts its own failures: rank 0 is started again and told that it was not."""
    code = textwrap.dedent("""
        import os, pathlib, sys, time
        import runicorn
        run = runicorn.init(project="p", name="n", all_ranks=True)
        run.log({"launch": os.environ["LAUNCH"], "count": int(os.environ["TORCHELASTIC_RESTART_COUNT"]),
                 "attempt": run.attempt})
        while not run.path:
            time.sleep(0.05)
        rank, again = os.environ["RANK"], pathlib.Path("failed").exists()
        if rank == "1" and not again:
            time.sleep(1)
            pathlib.Path("failed").touch()
            sys.exit(1)
        pathlib.Path(f"done{rank}").touch() if again else time.sleep(120)
        while len(list(pathlib.Path(".").glob("done?"))) < 2:
            time.sleep(0.05)
        time.sleep(0.5)
        """)
    options = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d",
               "--rdzv-endpoint=localhost:29519"]
    options.append("--rdzv-id=5")
    both = [torchrun_process(tmp_path, *options, code=code, LAUNCH=launch) for launch in ("one", "two")]
    said = [torchrun_ends(process) for process in both]
    run = only(tmp_path)
    assert sorted(file.name for file in run.glob("events*")) == ["events.2.jsonl", "events.jsonl",
                                                                 "events.rank1.2.jsonl",
                                                                 "events.rank1.jsonl"], said
    assert [rows(run, f"events{n}.jsonl")[0]["data"]["count"] for n in ("", ".2")] == [0, 0]
    assert rows(run, "events.rank1.2.jsonl")[0]["data"]["count"] == 1


@pytest.mark.frameworks
def test_separate_experiments_under_torchrun_stay_separate(tmp_path):
    """rank=None: one after the other, and started again."""
    code = textwrap.dedent("""
        import glob, os, sys, time
        import runicorn
        rank, count = os.environ["RANK"], int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        time.sleep(int(rank))
        with runicorn.init(project="p", name="n", rank=None) as run:
            run.log({"launch": rank, "count": count})
        open(f"{rank}.over.{count}", "w").close()
        while len(glob.glob(f"*.over.{count}")) < 3:        # whoever ends first has the others killed
            time.sleep(0.1)
        sys.exit(count == 0)
        """)
    said = torchrun_ends(
        torchrun_process(tmp_path, "--nproc-per-node=3", "--max-restarts=1", code=code, LAUNCH="one"))
    assert launches_of(tmp_path) == [["0"], ["1"], ["2"]], said
    assert all(sorted(files) == ["events.2.jsonl", "events.jsonl"] for files in written(tmp_path).values())
