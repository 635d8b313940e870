"""The bell: who waits hears what changed, nothing is missed, and old or foreign numbers say that everything
may have."""

import threading
import time

from clocks import Clock
from waiting import until

from runicorn import news as module
from runicorn.news import Bell


def test_a_ring_between_reading_and_waiting_is_not_missed():
    bell = Bell()
    mark = bell.now()
    bell.ring("runs")
    bell.ring("other")
    assert bell.wait(mark, ["runs"], 0)["topics"] == ["runs"]
    assert bell.wait(bell.now(), ["runs"], 0)["topics"] == []


def test_who_waits_is_woken_by_its_own_topic_only():
    bell, heard = Bell(), []
    mark = bell.now()
    waiting = threading.Thread(target=lambda: heard.append(bell.wait(mark, ["run:a", "run:b"], 10)))
    waiting.start()
    bell.ring("runs")
    waiting.join(0.2)
    assert waiting.is_alive()
    bell.ring("run:b")
    waiting.join(5)
    assert heard[0]["topics"] == ["run:b"] and heard[0]["news"] == bell.now()


def test_foreign_broken_and_forgotten_numbers_reset(monkeypatch):
    bell, other = Bell(), Bell()
    for since in ("", "x", f"{bell.boot}.x", f"{bell.boot}.", other.now(), f"{bell.boot}.-1"):
        assert bell.wait(since, ["runs"], 10)["reset"] is True
    monkeypatch.setattr(module, "TOPICS_KEPT", 3)
    old = bell.now()
    for n in range(10):
        bell.ring(f"run:{n}")
    assert bell.wait(old, ["runs"], 10)["reset"] is True
    assert bell.wait(bell.now(), ["runs"], 0) == {"news": bell.now(), "topics": []}


def test_a_timeout_answers_with_nothing():
    bell = Bell()
    started = time.monotonic()
    assert bell.wait(bell.now(), ["runs"], 0.05)["topics"] == []
    assert time.monotonic() - started >= 0.05


def test_watched_is_what_was_waited_for_within_half_a_minute():
    clock = Clock(0.0)
    bell = Bell(clock)
    bell.wait(bell.now(), ["run:a"], 0)
    bell.look(["run:b"])
    assert bell.watched() == {"run:a", "run:b"}
    clock.now = 29.0
    bell.look(["run:b"])
    clock.now = 31.0
    assert bell.watched() == {"run:b"}
    clock.now = 61.0
    assert bell.watched() == set()


def test_many_threads_ring_and_none_is_lost():
    bell = Bell()
    mark = bell.now()
    threads = [threading.Thread(target=lambda n=n: [bell.ring(f"t{n}") for _ in range(200)])
               for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bell.wait(mark, [f"t{n}" for n in range(9)], 0) == {
        "news": f"{bell.boot}.1600", "topics": [f"t{n}" for n in range(8)]}


def test_who_waits_is_woken_once_for_all_that_is_rung_together():
    bell, heard = Bell(), []
    before = bell.now()
    waiting = threading.Thread(target=lambda: heard.append(bell.wait(before, ["run:b", "runs", "x"], 10)))
    waiting.start()
    until(lambda: bell._waiters)
    bell.ring("run:a", "run:b", "runs")
    waiting.join(5)
    assert heard == [{"news": bell.now(),
                      "topics": ["run:b", "runs"]}] and bell.now().endswith(
                          ".3"), "each has a number of its own"
    assert bell._waiters == {}, "nobody waits any more"


def test_a_ring_wakes_nobody_who_waits_for_another_topic():
    """200 open tabs that each watch a run of their own: a ring for one of them is no work for the others."""
    bell, woken, tabs = Bell(), [], 200
    threads = [threading.Thread(target=bell.wait, args=(bell.now(), ["runs:of", f"run:{number}"], 20),
                                name=str(number))
               for number in range(tabs)]
    for thread in threads:
        thread.start()
    until(lambda: len(bell._waiters) == tabs + 1 and all(thread.is_alive() for thread in threads))
    time.sleep(0.2)             # each has looked once by now
    look = bell._changed
    bell._changed = lambda topics, number: (woken.append(threading.current_thread().name),
                                            look(topics, number))[1]
    for _ in range(50):
        bell.ring("nobody", "run:7")
    threads[7].join(5)
    assert woken == ["7"] and not threads[7].is_alive()
    assert sum(thread.is_alive() for thread in threads) == tabs - 1
    bell.ring("runs:of")
    for thread in threads:
        thread.join(5)
    assert sorted(woken, key=int) == sorted(map(str, range(tabs)),
                                            key=int) and bell._waiters == {}, "once each"


def test_who_rests_is_woken_as_a_topic_comes_to_be_looked_at():
    clock, event = Clock(), threading.Event()
    bell = Bell(clock)
    bell.wake_watched(event)
    bell.look(["runs"])
    assert event.is_set()
    event.clear()
    bell.look(["runs"])
    assert not event.is_set()           # it was looked at already
    clock.now += module.WATCHED_SECONDS + 1
    assert bell.watched() == set()
    bell.wait(bell.now(), ["runs"], 0)
    assert event.is_set()
