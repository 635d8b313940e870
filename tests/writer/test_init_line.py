"""The one line in which `init` says where the run is."""

import re

import pytest
from scripts import only, runs
from scripts import start as start_quiet
from scripts import train as train_quiet

BEGIN = "import runicorn\nrun = runicorn.init(project='vision', name='余弦'%s)\n"
SAID = r'runicorn: vision/余弦 -> (\S+); "runicorn viewer" shows it\n'


def train(folder, code, **environ):
    return train_quiet(folder, code, **{"RUNICORN_QUIET": "", **environ})


def test_it_names_the_run_and_its_folder(tmp_path):
    _, err = train(tmp_path, BEGIN % "" + "print('hello')")
    where = re.fullmatch(SAID, err)[1]
    assert where == f"~/{only(tmp_path).relative_to(tmp_path)}"


def test_a_folder_outside_home_is_named_whole(tmp_path):
    (tmp_path / "home").mkdir()
    _, err = train(tmp_path, BEGIN % "", HOME=str(tmp_path / "home"))
    assert re.fullmatch(SAID, err)[1] == str(only(tmp_path))


@pytest.mark.parametrize("capture", ["True", "'fd'"])
def test_it_is_no_output_of_the_script(tmp_path, capture):
    _, err = train(tmp_path, BEGIN % f", capture={capture}" + "print('hello')\nrun.finish()")
    assert re.fullmatch(SAID, err)
    assert [line.split("] ", 1)[1]
            for line in (only(tmp_path) / "logs.txt").read_text(encoding="utf-8").splitlines()] == ["hello"]


def test_a_process_says_it_once(tmp_path):
    _, err = train(tmp_path, BEGIN % ""
                   + "run.finish()\nrunicorn.init(project='p').finish()\nrunicorn.init(project='p').finish()")
    assert len(runs(tmp_path)) == 3 and re.fullmatch(SAID, err)


@pytest.mark.parametrize("options, environ",
                         [(", quiet=True", {}), ("", {"RUNICORN_QUIET": "1"}), (", mode='disabled'", {})])
def test_it_can_be_left_out(tmp_path, options, environ):
    assert train(tmp_path, BEGIN % options, **environ)[1] == ""


def test_quiet_leaves_warnings(tmp_path):
    assert "colour=…) is not known" in train(tmp_path, BEGIN % ", quiet=True, colour=1")[1]
    assert re.fullmatch(SAID, train(tmp_path, BEGIN % "", RUNICORN_QUIET="0")[1])


def test_only_rank_0_says_it(tmp_path):
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    script = BEGIN % ", all_ranks=True" + "import time; time.sleep(3)"
    processes = [start_quiet(tmp_path, script, RUNICORN_QUIET="", RANK=rank, LOCAL_RANK=rank, **launch)
                 for rank in "01"]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert re.fullmatch(SAID, said[0]) and said[1] == ""


def test_a_root_that_cannot_be_written_is_not_said_to_hold_a_run(tmp_path):
    (tmp_path / "root").write_text("a file")
    _, err = train(tmp_path, BEGIN % "")
    assert "shows it" not in err and "nothing is recorded" in err


def test_a_home_at_the_top_of_the_disk_abbreviates_nothing(tmp_path):
    assert re.fullmatch(SAID, train(tmp_path, BEGIN % "", HOME="/")[1])[1] == str(only(tmp_path))
