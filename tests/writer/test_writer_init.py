"""init() in odd surroundings: no room for a thread, half characters, an ASCII locale, threads and
interpreters that are not the first."""

import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from nobody import as_nobody, needs_root
from nobody import open_path as open_path  # a fixture
from scripts import environment, only, rows, runs, shown, small, train

import runicorn
from runicorn import layout, local_names
from runicorn.errors import UsageError

LOOP = """
for step in range(3):
    run.log({"loss": 1.0}, step=step)
    print("step", step)
run.summary["best"] = 1
run.config.lr = 0.1
"""


# -- no thread -----------------------------------------------------------------------------------------------

@needs_root
def test_without_room_for_a_thread_the_run_is_recorded_and_beats(open_path):
    """A real limit of processes; when it is lifted the thread is started after all."""
    (open_path / "root").mkdir()
    os.chown(open_path / "root", 65534, 65534)
    err = as_nobody(open_path, textwrap.dedent("""
        import threading, time
        import runicorn.writer.background, runicorn.writer.live, runicorn.writer.run
        runicorn.writer.background.TRY_SECONDS = runicorn.writer.live.BEAT_SECONDS = 0.05
        before = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, before[1]))
        run = runicorn.init(project="p", name="n")
        assert type(run).__name__ == "Run" and threading.active_count() == 1
        """) + LOOP + textwrap.dedent("""
        live = run._live.path
        os.utime(live, (0, 0))
        end = time.monotonic() + 30
        while os.stat(live).st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.11)
            run.log({"loss": 0.5})
        assert os.stat(live).st_mtime
        assert json.load(open(run.dir / "summary.json"))["best"] == 1
        resource.setrlimit(resource.RLIMIT_NPROC, before)
        while threading.active_count() == 1 and time.monotonic() < end:
            time.sleep(0.11)
            run.log({"loss": 0.5})
        assert threading.active_count() == 2
        """).replace("json.load", "__import__('json').load"))
    assert err.count("\n") == 1 and "no thread can be started" in err
    assert [row["step"] for row in rows(only(open_path))][:3] == [0, 1, 2]
    assert small(only(open_path), "status")["status"] == "finished"
    assert shown(only(open_path))[-3:] == ["step 0", "step 1", "step 2"]
    assert small(only(open_path), "meta")["config"] == {"lr": 0.1}


def test_init_while_the_process_ends(tmp_path):
    """In atexit and in a destructor, where Python 3.12 and newer start no thread."""
    _, err = train(tmp_path, textwrap.dedent("""
        import atexit, runicorn
        def late(name):
            run = runicorn.init(project="p", name=name)
            run.log({"loss": 1.0}, step=0)
            run.finish()
        class Late:
            def __del__(self, late=late):
                # half of Python's modules are gone: it may come to nothing, but it does not raise
                late("destructor")
        atexit.register(late, "atexit")
        kept = Late()
        """))
    run, = (run for run in runs(tmp_path) if run.parent.parent.name == "atexit")
    assert "Traceback" not in err and "Exception ignored" not in err and len(rows(run)) == 1


def test_a_thread_that_python_did_not_start_and_one_that_is_not_the_first(tmp_path):
    _, err = train(tmp_path, textwrap.dedent("""
        import _thread, ctypes, threading, time
        def work(name):
            import runicorn
            with runicorn.init(project="p", name=name) as run:
                run.log({"loss": 1.0}, step=0)
            done.append(name)
        done = []
        # imports threading first: a main thread that is none
        _thread.start_new_thread(work, ("raw",))
        while len(done) < 1:
            time.sleep(0.01)
        def from_c(argument):
            work("c")
        pthread = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(from_c)
        handle = ctypes.c_ulong()
        libc = ctypes.CDLL(None)
        libc.pthread_create(ctypes.byref(handle), None, pthread, None)
        libc.pthread_join(handle, None)
        threading.Thread(target=work, args=("thread",)).start()
        """))
    assert "Traceback" not in err
    assert sorted(run.parent.parent.name for run in runs(tmp_path)) == ["c", "raw", "thread"]
    assert all(len(rows(run)) == 1 and small(run, "status")["status"] == "finished" for run in runs(tmp_path))


def test_a_main_thread_that_only_threading_takes_for_one(tmp_path):
    """A C program whose own thread imports Python's threading first: only signal knows which is the main
    one."""
    _, err = train(tmp_path, textwrap.dedent("""
        import threading, time
        import runicorn
        def work():
            threading.main_thread = threading.current_thread
            with runicorn.init(project="p", name="n") as run:
                run.log({"loss": 1.0}, step=0)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """))
    assert "Traceback" not in err and len(rows(only(tmp_path))) == 1


def test_in_a_subinterpreter(tmp_path):
    try:
        import _xxsubinterpreters
    except ImportError:
        import _interpreters as _xxsubinterpreters
    assert _xxsubinterpreters
    _, err = train(tmp_path, textwrap.dedent("""
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        code = '''if True:
            import runicorn
            run = runicorn.init(project="p", name="n", system=False)
            run.log({"loss": 1.0}, step=0)
            run.finish()
            '''
        interpreters.run_string(interpreters.create(), code)
        """))
    assert "Traceback" not in err and len(rows(only(tmp_path))) == 1
    assert small(only(tmp_path), "status")["status"] == "finished"


# -- forks ---------------------------------------------------------------------------------------------------

def test_a_fork_just_after_init_finds_no_import_under_way(tmp_path):
    """Our thread imports subprocess at once; a child made meanwhile could never import it."""
    out, _ = train(tmp_path, textwrap.dedent("""
        import os, random, signal, sys, time
        import runicorn
        random.seed(1)
        hung = 0
        for turn in range(40):
            for name in ("subprocess", "selectors", "_posixsubprocess"):
                sys.modules.pop(name, None)
            run = runicorn.init(project="p", name="n", capture=False, reinit=True)
            time.sleep(random.uniform(0, 0.015))
            child = os.fork()
            if not child:
                import subprocess
                os._exit(0)
            end = time.monotonic() + 10
            while not os.waitpid(child, os.WNOHANG)[0]:
                if time.monotonic() > end:
                    hung += 1
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    break
                time.sleep(0.001)
        print(hung)
        """), timeout=300)
    assert out == "0\n"


def test_a_fork_while_our_thread_says_something_leaves_stderr_usable(tmp_path):
    out, _ = train(tmp_path, textwrap.dedent("""
        import os, sys, threading, time
        import runicorn
        from runicorn.writer.notice import say
        run = runicorn.init(project="p", name="n", capture=False, system=False)
        def talk():
            for number in range(900):
                say(str(number))
        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        hung = 0
        while talking.is_alive():
            child = os.fork()
            if not child:
                print("child", file=sys.stderr)
                os._exit(0)
            end = time.monotonic() + 10
            while not os.waitpid(child, os.WNOHANG)[0]:
                if time.monotonic() > end:
                    hung += 1
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    break
        print(hung)
        """), timeout=300)
    assert out == "0\n"


def test_a_forked_child_writes_none_of_the_small_files(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import os, runicorn
        run = runicorn.init(project="p", name="n", tags=["parent"])
        child = os.fork()
        if not child:
            run.tags = ["younger"]
            run.notes = "younger"
            run.config.younger = True
            run.summary["younger"] = True
            run.define_metric("younger", summary="max")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert "younger" not in open(run.dir / "meta.json").read() + open(run.dir / "summary.json").read()
        """))
    assert small(only(tmp_path), "meta")["tags"] == ["parent"]


# -- text ----------------------------------------------------------------------------------------------------

HALVES = ["\ud800", "a\udfffb", "\udce8\udca7\udc86", "caf\udce9", "\udc80", "视\ud83d觉"]


@pytest.mark.few(2)
@pytest.mark.parametrize("text", HALVES, ids=ascii)
def test_half_characters_anywhere_in_init(tmp_path, text):
    _, err = train(tmp_path, textwrap.dedent(f"""
        import os, sys
        import runicorn
        text = {text!a}
        sys.argv = [sys.argv[0], "--name", text]
        try:
            os.environ["SLURM_JOB_NAME"] = os.environ["USER"] = text
            os.mkdir(text)
            os.chdir(text)
        except UnicodeEncodeError:
            pass                        # no name that a system takes
        run = runicorn.init(project=text, name=text, notes=text, tags=[text], config={{text: text}},
                            group=text, job_type=text, id=text)
        assert type(run).__name__ == "Run", run
        run.log({{text: 1.0, "text": text}}, step=0)
        run.summary[text] = text
        run.tags, run.notes = [text, text], text
        again = runicorn.init(project=text, name=text, id=text, resume="must")
        assert again.resumed and again.id == run.id and again.dir == run.dir
        """))
    assert "Traceback" not in err and "nothing is recorded" not in err
    run = only(tmp_path)
    meta = small(run, "meta")
    for name in ("meta", "status", "summary"):
        (run / f"{name}.json").read_bytes().decode("utf-8")
        assert "\\ud" not in (run / f"{name}.json").read_text(encoding="utf-8")
    assert len(meta["tags"]) == 2 and meta["argv"][1] == "--name"
    assert rows(run)[0]["data"].popitem()[0] == "text"
    if text == "\udce8\udca7\udc86":        # 视, as Python shows it where the locale is ASCII
        assert (meta["project"] == meta["name"] == meta["notes"] == meta["argv"][2] == meta["group"]
                == meta["id"] == "视")
        assert run.parent.parent.name == run.name == "视"


@pytest.mark.parametrize("text", [*HALVES, "视觉", "a/b", "\0", "~", "x" * 300 + "\ud800"], ids=ascii)
def test_a_slug_of_half_characters_is_a_name_for_any_disk_and_reads_back(text):
    slug = layout.slug(text)
    assert slug.encode("utf-8") and len(slug.encode()) <= layout.SLUG_BYTES
    assert local_names.unslug(slug) in (text, layout.legible(text)) or len(text) > 300
    assert len({layout.slug(other) for other in HALVES}) == len(HALVES)


@pytest.mark.parametrize("storage", ["a\ud800b", "a\0b", "/dev/null/x", "\udce9t\udce9"], ids=ascii)
def test_a_root_that_can_not_be_is_said(tmp_path, storage):
    _, err = train(tmp_path,
                   f"import runicorn\nrun = runicorn.init(project='p', storage={storage!a})\n" + LOOP)
    assert "Traceback" not in err
    assert ("nothing is recorded" in err
            or [path for path in os.listdir(os.fsencode(tmp_path)) if path == b"\xe9t\xe9"])


ASCII = {"LC_ALL": "C", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.few()
@pytest.mark.parametrize("more",
                         [{"PYTHONIOENCODING": ""}, {"PYTHONIOENCODING": "ascii:strict"},
                          {"PYTHONIOENCODING": "utf-8"}], ids=str)
@pytest.mark.parametrize("where", ["storage", "environment", "config.json"])
def test_chinese_names_under_an_ascii_locale(tmp_path, more, where):
    """The same folders and the same text as under a UTF-8 locale, whichever way the name came."""
    root = str(tmp_path / "实验")
    environ = {**ASCII, **more, "RUNICORN_DIR": root if where == "environment" else ""}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.json").write_text(
        json.dumps({"root": root}) if where == "config.json" else "{}")
    code = textwrap.dedent(f"""
        import os, sys
        import runicorn
        assert sys.getfilesystemencoding() == "ascii"
        names = dict(project="视觉", name="残差",
                     {"storage=" + ascii(root) + ", " if where == "storage" else ""})
        run = runicorn.init(notes="笔记", tags=["基线"], config={{"数据": "猫"}}, id="第一", **names)
        assert type(run).__name__ == "Run" and os.path.isdir(run.dir)
        run.log({{"损失": 1.0}}, step=3)
        (run.dir / "checkpoint.pt").write_bytes(b"")
        run = runicorn.init(id="第一", resume="must", **names)
        assert run.attempt == 2 and run.step == 3
        run.log({{"损失": 0.5}})
        run = runicorn.init(id="第一", **names)             # taken: a line with the name in it
        fresh = runicorn.init(**dict(names, project=sys.argv[1]))
        assert fresh.project == "视觉"
        if sys.stdout.errors == "surrogateescape":
            print(sys.argv[1])
        """)
    (tmp_path / "train.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "train.py", "视觉"], cwd=tmp_path,
                          env=environment(tmp_path, **environ), capture_output=True, timeout=60)
    err = done.stderr.decode()
    assert done.returncode == 0 and "Traceback" not in err and "there is a run" in err, err
    assert (more["PYTHONIOENCODING"]
            or [shown(folder) for folder in tmp_path.glob("实验/视觉/残差/runs/*_*")].count(["视觉"]) == 1)
    run = tmp_path / "实验" / "视觉" / "残差" / "runs" / "第一"
    meta = small(run, "meta")
    assert (meta["project"], meta["name"], meta["id"], meta["notes"], meta["tags"]) == (
        "视觉", "残差", "第一", "笔记", ["基线"])
    assert meta["config"] == {"数据": "猫"} and meta["argv"][1] == "视觉" and meta["cwd"] == str(tmp_path)
    assert [row["step"] for row in rows(run) + rows(run, "events.2.jsonl")] == [3, 4]
    assert (run / "checkpoint.pt").exists()
    assert len(list((tmp_path / "实验" / "视觉" / "残差" / "runs").iterdir())) == 3
    assert os.listdir(tmp_path / "实验" / "视觉") == ["残差"]


@pytest.mark.parametrize("arguments",
                         [{"storage": 5}, {"storage": object()}, {"rank": "first"}, {"rank": [1]},
                          {"rank": float("inf")}, {"rank": 1j}],
                         ids=lambda arguments: str(arguments).split(" at 0x")[0])
def test_arguments_that_mean_nothing_are_refused_in_words(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        runicorn.init(**{"project": "p", **arguments})
    assert threading.main_thread().is_alive()
