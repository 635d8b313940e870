"""Which run `runicorn.log` and the others act on: in threads, pools of threads, tasks, and runs within
runs."""

import asyncio
import concurrent.futures
import contextvars
import multiprocessing.pool
import sys
import threading

import pytest
from scripts import rows, small

import runicorn
from runicorn.writer.notice import _sentences

ROWS = 20


@pytest.fixture
def begin(tmp_path):
    """init(...) with a root of its own, no captured output, no samples. Each test is a process of its own as
    far as `init` can tell: it runs in a fresh context, and what it began is finished at the end."""
    _sentences.clear()
    begun = []

    def begin(**more):
        run = runicorn.init(**{"project": "p", "name": "n", "storage": tmp_path / "root", "capture": False,
                               "system": False, **more})
        begun.append(run)
        return run
    while runicorn.run is not None:
        runicorn.finish()
    yield begin
    for run in begun:
        run.finish()


def names(run):
    """Return what was logged as "who" into a run (list)."""
    return [row["data"]["who"] for row in rows(run.dir)]


def trial(begin, who, meet=lambda: None, **more):
    """One trial of a study that uses the module's functions alone; returns its run."""
    run = begin(config={"who": who}, **more)
    for _ in range(ROWS):
        meet()
        runicorn.log({"who": who})
    runicorn.summary["who"] = who
    runicorn.config["seen"] = runicorn.run.config["who"]
    runicorn.define_metric(f"metric-{who}", summary="max")
    runicorn.finish()
    return run


def check_trials(found):
    assert len(found) > 1 and len({run.id for run in found}) == len(found)
    for run in found:
        who = run.config["who"]
        meta = small(run.dir, "meta")
        assert names(run) == [who] * ROWS and meta["config"] == {"who": who, "seen": who}
        assert set(meta["metrics"]) == {f"metric-{who}"}
        assert small(run.dir, "summary")["who"] == who and small(run.dir, "status")["status"] == "finished"


def in_threads(*functions):
    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        return [future.result(60) for future in [pool.submit(function) for function in functions]]


@pytest.mark.few(3)
@pytest.mark.parametrize("reinit", [None, True, "create_new", "finish_previous"])
@pytest.mark.parametrize("outer", [False, True])
def test_runs_in_threads_are_kept_apart(begin, reinit, outer):
    """A study in threads, also within a run of the main thread, which other threads log to."""
    whole = begin(name="study") if outer else None
    barrier = threading.Barrier(3)
    found = in_threads(
        *[lambda who=who: trial(begin, who, lambda: barrier.wait(30), reinit=reinit) for who in range(3)])
    check_trials(found)
    if outer:
        assert not whole.ended and runicorn.run is whole
        thread = threading.Thread(target=lambda: runicorn.log({"who": "helper"}))
        thread.start()
        thread.join()
        assert names(whole) == ["helper"]


def test_a_thread_of_a_pool_is_used_for_trial_after_trial(begin):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        check_trials(list(pool.map(lambda who: trial(begin, who), range(8))))
    with multiprocessing.pool.ThreadPool(2) as pool:
        check_trials(pool.map(lambda who: trial(begin, who), range(8)))


def test_a_pools_thread_that_does_not_finish_its_run_ends_it_with_the_next(begin):
    def careless(who):
        run = begin()
        runicorn.log({"who": who})
        return run
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = list(pool.map(careless, range(3)))
    assert [run.ended for run in found] == [True, True, False]
    assert [names(run) for run in found] == [[0], [1], [2]]


def test_optuna_with_two_jobs(begin):
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    barrier = threading.Barrier(2)

    def objective(study_trial):
        found.append(trial(begin, study_trial.number, lambda: barrier.wait(30)))
        return study_trial.suggest_float("x", 0, 1)
    optuna.create_study().optimize(objective, n_trials=6, n_jobs=2)
    assert len(found) == 6
    check_trials(found)


def test_dask_in_threads(begin):
    import dask
    check_trials(dask.compute(*[dask.delayed(trial)(begin, who) for who in range(6)], scheduler="threads",
                              num_workers=3))


def test_joblib_in_threads(begin):
    import joblib
    check_trials(joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(trial)(begin, who) for who in range(6)))


async def async_trial(begin, who, **more):
    run = begin(config={"who": who}, **more)
    for _ in range(ROWS):
        await asyncio.sleep(0)
        runicorn.log({"who": who})
    runicorn.summary["who"] = who
    runicorn.config["seen"] = runicorn.run.config["who"]
    runicorn.define_metric(f"metric-{who}", summary="max")
    runicorn.finish()
    runicorn.finish()           # once more: not the run of another task, nor the study's
    return run


@pytest.mark.parametrize("outer", [False, True])
def test_runs_in_tasks_are_kept_apart(begin, outer):
    async def study():
        whole = begin(name="study") if outer else None
        found = await asyncio.gather(*[async_trial(begin, who) for who in range(4)])
        if outer:
            runicorn.log({"who": "study"})
            assert runicorn.run is whole and names(whole) == ["study"]
        return found
    check_trials(asyncio.run(study()))


def test_what_a_task_or_a_thread_of_its_own_logs_goes_to_the_run_it_was_started_in(begin):
    async def helper():
        runicorn.log({"who": "task"})
        await asyncio.to_thread(runicorn.log, {"who": "thread"})

    async def study():
        run = begin()
        await asyncio.gather(helper(), asyncio.create_task(helper()))
        return run
    assert sorted(names(asyncio.run(study()))) == ["task", "task", "thread", "thread"]


def test_a_run_that_another_thread_logs_to_goes_on(begin, capsys):
    """`for config in configs: run = init(config); Thread(target=train, args=(run,)).start()`, and a thread
    that uses `runicorn.log`."""
    go, logged = threading.Event(), [threading.Event(), threading.Event()]

    def work(log, number):
        log({"who": number})
        logged[number].set()
        go.wait(30)
        for _ in range(ROWS):
            log({"who": number})
    first = begin()
    threads = [threading.Thread(target=work, args=arguments)
               for arguments in ((first.log, 0), (runicorn.log, 1))]
    for thread in threads:
        thread.start()
    assert all(event.wait(30) for event in logged)
    second = begin()
    runicorn.log({"who": "main"})
    go.set()
    for thread in threads:
        thread.join()
    assert not first.ended and sorted(names(first)) == [0] * (ROWS + 1) + [1] * (ROWS + 1)
    assert names(second) == ["main"]
    assert f"run {first.id} goes on beside this one" in capsys.readouterr().err


def test_a_pools_thread_that_has_nothing_to_do_keeps_no_run_alive(begin):
    """Fold after fold logged through one pool, none finished by hand."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool, multiprocessing.pool.ThreadPool(2) as other:
        found = []
        for fold in range(3):
            found.append(begin())
            list(pool.map(lambda who: runicorn.log({"who": who}), [fold] * 4))
            other.map(lambda who: runicorn.log({"who": who}), [fold] * 4)
            for thread in threading.enumerate():            # the last worker is back at its queue
                while (thread.name.startswith("ThreadPool")
                       and not runicorn.writer.api.current._is_idle(frame(thread))):
                    pass
    assert [run.ended for run in found] == [True, True, False]
    assert [names(run) for run in found] == [[fold] * 8 for fold in range(3)]


def frame(thread):
    return sys._current_frames().get(thread.ident)


def test_threads_without_a_run_follow_the_main_threads(begin):
    found = []
    for who in range(3):
        with begin() as run:
            in_threads(*[lambda who=who: runicorn.log({"who": who})] * 2)
        found.append(run)
    assert [names(run) for run in found] == [[who] * 2 for who in range(3)]


def test_a_run_begun_in_a_thread_is_the_processs_where_there_is_no_other(begin):
    """A notebook's or a window's thread begins it, the main thread logs to it."""
    run, = in_threads(begin)
    runicorn.log({"who": "main"})
    assert runicorn.run is run and names(run) == ["main"]
    other = begin()
    runicorn.log({"who": "other"})
    assert run.ended and names(other) == ["other"] and names(run) == ["main"]


def test_a_run_whose_thread_is_gone_is_ended_by_the_next(begin):
    run, = in_threads(begin)
    begin()
    assert run.ended


def test_runs_within_runs(begin):
    with begin(name="outer") as outer:
        with begin(name="inner", reinit="create_new") as inner:
            runicorn.log({"who": "inner"})
        runicorn.log({"who": "outer"})
        third = begin(reinit="create_new")
        assert runicorn.run is third
        runicorn.finish()
        assert runicorn.run is outer
        runicorn.log({"who": "outer"})
    assert names(inner) == ["inner"] and names(outer) == ["outer"] * 2 and runicorn.run is None
    runicorn.finish()
    runicorn.log({"who": "nobody"})
    assert names(outer) == ["outer"] * 2


def test_a_trial_that_finishes_twice_ends_no_other_run(begin):
    whole = begin(name="study")

    def twice():
        run = begin()
        run.finish()
        runicorn.finish()
        runicorn.log({"who": "late"})
        return run
    run, = in_threads(twice)
    assert not whole.ended and names(whole) == [] and names(run) == []


def test_return_previous_is_the_threads_own(begin):
    whole = begin(name="study")

    def own():
        run = begin(reinit="create_new")
        assert begin(reinit="return_previous") is run is begin(reinit=False)
        return run
    run, = in_threads(own)
    assert run is not whole and in_threads(lambda: begin(reinit=False)) == [whole]
    run.finish()


def test_resume_in_two_threads_is_two_runs(begin):
    """The second finds the first being written, by this very process."""
    barrier = threading.Barrier(2)

    def again(who):
        if who:
            barrier.wait(30)
        run = begin(id="x", resume="allow")
        if not who:
            barrier.wait(30)
        runicorn.log({"who": who})
        return run
    found = in_threads(lambda: again(0), lambda: again(1))
    assert [run.attempt for run in found] == [1, 1] and [names(run) for run in found] == [[0], [1]]


def test_a_context_that_was_lost_falls_back_to_the_process(begin):
    """Notebooks may run each cell in a context of its own."""
    run = contextvars.Context().run(begin)
    contextvars.Context().run(runicorn.log, {"who": "cell"})
    assert names(run) == ["cell"] and runicorn.run is run
    contextvars.Context().run(begin)
    assert run.ended


def test_disabled_runs_are_current_too(begin):
    whole = begin(name="study")
    run, = in_threads(lambda: (begin(mode="disabled"), runicorn.log({"who": "disabled"}))[0])
    assert runicorn.run is whole and names(whole) == [] and run.path is None
