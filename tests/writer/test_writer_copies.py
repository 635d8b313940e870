"""Copies and pickles of a run, its config and summary, and of what holds them: in checkpoints, data loaders,
pools and clusters."""

import copy
import json
import pickle
import subprocess
import sys
import textwrap

import cloudpickle
import dill
import pytest
from later import Later
from scripts import only, rows, runs, small, train

import runicorn
from runicorn.writer.notice import _sentences

torch = Later("torch")


@pytest.fixture(autouse=True)
def quiet():
    _sentences.clear()
    yield
    runicorn.finish()


@pytest.fixture
def run(tmp_path):
    run = runicorn.init(project="p", name="n", config={"lr": 0.1, "net": {"d": 3}}, storage=tmp_path / "root",
                        capture=False, system=False)
    run.log({"loss": 1.0})
    return run


@pytest.fixture
def disabled():
    return runicorn.init(mode="disabled", config={"lr": 0.1}, reinit="create_new")


# -- config and summary --------------------------------------------------------------------------------------

@pytest.mark.parametrize("copied", [
    copy.copy, copy.deepcopy, lambda config: copy.deepcopy({"config": config})["config"],
    lambda config: copy.copy(copy.deepcopy(config)), lambda config: copy.deepcopy(copy.copy(config))])
def test_a_copy_of_a_config_is_data_of_its_own(run, copied):
    config = copied(run.config)
    assert config == {"lr": 0.1, "net": {"d": 3}} and config.lr == 0.1 and isinstance(config, dict)
    config.lr = 0.5
    config["more"] = 1
    assert config["lr"] == 0.5 and config.more == 1 and json.loads(json.dumps(config))["lr"] == 0.5
    del config.more
    with pytest.raises(AttributeError, match="no 'more'"):
        _ = config.more
    assert dict(run.config) == {"lr": 0.1, "net": {"d": 3}} == small(run.dir, "meta")["config"]


def test_a_deep_copy_shares_nothing(run):
    copy.deepcopy(run.config)["net"]["d"] = 4
    assert run.config["net"] == {"d": 3}


@pytest.mark.parametrize("pickled", [pickle, cloudpickle, dill], ids=lambda module: module.__name__)
@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_a_pickle_of_a_config_needs_nothing_of_ours(run, pickled, protocol):
    data = pickled.dumps({"config": run.config, "summary": run.summary, "copy": copy.copy(run.config)},
                         protocol=protocol)
    assert b"runicorn" not in data
    back = pickle.loads(data)
    assert back == {"config": {"lr": 0.1, "net": {"d": 3}}, "summary": {"loss": 1.0},
                    "copy": {"lr": 0.1, "net": {"d": 3}}}
    assert all(isinstance(part, dict) for part in back.values())


def test_a_checkpoint_with_a_config_loads_with_weights_only(run, tmp_path):
    torch.save({"config": run.config, "summary": run.summary, "weights": torch.zeros(2)},
               tmp_path / "checkpoint.pt")
    back = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert back["config"]["lr"] == 0.1 and back["summary"] == {"loss": 1.0}


def test_a_disabled_runs_config_and_summary(disabled):
    assert copy.deepcopy(disabled.config).lr == 0.1
    assert pickle.loads(pickle.dumps(disabled.config)) == {"lr": 0.1}
    disabled.summary["best"] = 1
    assert pickle.loads(pickle.dumps(disabled.summary)) == copy.copy(disabled.summary) == {"best": 1}


# -- runs ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run)),
                                    lambda run: dill.loads(dill.dumps(run)),
                                    lambda run: cloudpickle.loads(cloudpickle.dumps(run))],
                         ids=["copy", "deepcopy", "pickle", "dill", "cloudpickle"])
def test_a_copy_of_a_run_in_its_process_is_the_run(run, copied):
    assert copied(run) is run and copied({"run": run, "more": [run]})["more"][0] is run
    run.log({"loss": 2.0})
    assert len(rows(run.dir)) == 2


def test_a_disabled_run_copies_and_pickles(disabled):
    assert copy.deepcopy(disabled) is copy.copy(disabled) is disabled
    back = pickle.loads(pickle.dumps(disabled))
    back.log({"a": 1})
    assert back.config.lr == 0.1 and back.project == disabled.project and back.id == disabled.id


def test_the_module_copies_and_pickles():
    class Trainer:
        def __init__(self):
            self.wandb, self.log = runicorn, runicorn.log
            self.init, self.image = runicorn.init, runicorn.Image
    twin = copy.deepcopy(Trainer())
    assert twin.wandb is runicorn and twin.log is runicorn.log and twin.image is runicorn.Image
    assert (pickle.loads(pickle.dumps(runicorn)) is cloudpickle.loads(cloudpickle.dumps(runicorn))
            is copy.copy(runicorn) is runicorn)
    assert dill.loads(dill.dumps(runicorn)) is runicorn


def test_an_image_pickles(tmp_path):
    image = pickle.loads(pickle.dumps(runicorn.Image(tmp_path / "x.png", caption="c")))
    assert image.caption == "c" and image.data == tmp_path / "x.png"


def test_a_run_unpickled_elsewhere_records_nothing_and_says_so_once(run, tmp_path):
    (tmp_path / "run.pickle").write_bytes(pickle.dumps({"run": run}))
    code = textwrap.dedent("""
        import pickle, sys, copy
        run = pickle.load(open(sys.argv[1], "rb"))["run"]
        print(run.id, run.project, run.name, run.config.lr, run.config["net"], run.summary["loss"], run.dir,
              run.path)
        print(run.step, run.attempt, run.tags, run.notes)
        for n in range(3):
            run.log({"loss": n})
            run.config.more = 1
            run.summary({"more": 1})
        again = pickle.loads(pickle.dumps(run))
        again.log({"a": 1})
        assert again.config.more == 1 and copy.deepcopy(run) is run
        run.define_metric("loss", summary="min"), run.watch(None)
        run.finish()
    """)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.pickle")], capture_output=True,
                          text=True, check=True, timeout=60)
    assert done.stdout.split()[:4] == [run.id, "p", "n", "0.1"] and str(run.dir) in done.stdout
    assert run.path in done.stdout
    assert done.stderr.count("\n") == 1 and f"run {run.id} records nothing here" in done.stderr
    run.finish()
    assert len(rows(run.dir)) == 1 and small(run.dir, "summary") == {"loss": 1.0}
    assert small(run.dir, "meta")["config"] == {"lr": 0.1, "net": {"d": 3}}


# -- processes -----------------------------------------------------------------------------------------------

LOADER = """
    import multiprocessing, sys
    import torch
    import runicorn

    class Data(torch.utils.data.Dataset):
        def __init__(self, run, config):
            self.run, self.config, self.module = run, config, runicorn
        def __len__(self):
            return 8
        def __getitem__(self, index):
            self.run.log({"in a worker": index})
            return torch.tensor([self.config.lr * index, self.run.config.lr, self.run.config["lr"]])

    if __name__ == "__main__":
        run = runicorn.init(project="p", name="n", config={"lr": 0.5}, system=False)
        for _ in range(2):
            data = Data(run, run.config)
            for batch in torch.utils.data.DataLoader(data, batch_size=2, num_workers=2,
                                                     multiprocessing_context=sys.argv[1]):
                run.log({"sum": batch.sum()})
"""


@pytest.mark.frameworks
@pytest.mark.few("fork", tier="frameworks")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_data_loader_workers_hold_the_run_and_its_config(tmp_path, method):
    _, err = train(tmp_path, textwrap.dedent(LOADER).replace("sys.argv[1]", repr(method)), timeout=300)
    assert ([row["data"] for row in rows(only(tmp_path))]
            == [{"sum": 2.5}, {"sum": 4.5}, {"sum": 6.5}, {"sum": 8.5}] * 2)
    assert small(only(tmp_path), "status")["status"] == "finished"
    assert 2 <= err.count("records nothing") <= 4, err          # once in each worker


POOLS = """
    import concurrent.futures, functools, multiprocessing
    import joblib
    import runicorn

    def work(run, config, number):
        run.log({"lost": number})
        return number * config["lr"]

    if __name__ == "__main__":
        run = runicorn.init(project="p", name="n", config={"lr": 0.5}, system=False)
        part = functools.partial(work, run, run.config)
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            with context.Pool(2) as pool:
                run.log({"pool": sum(pool.map(part, range(4)))})
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
                run.log({"executor": sum(executor.map(part, range(4)))})
            process = context.Process(target=work, args=(run, run.config, 1))
            process.start()
            process.join()
            run.log({"process": process.exitcode})
        for backend in ("loky", "threading"):
            work = joblib.delayed(lambda n: n * run.config["lr"] + run.summary["pool"])
            run.log({"joblib": sum(joblib.Parallel(2, backend=backend)(work(n) for n in range(4)))})
"""


@pytest.mark.long
def test_pools_executors_and_joblib_take_what_holds_a_run(tmp_path):
    train(tmp_path, textwrap.dedent(POOLS), timeout=300)
    data = [row["data"] for row in rows(only(tmp_path))]
    assert data == [{"pool": 3.0}, {"executor": 3.0}, {"process": 0}] * 3 + [{"joblib": 15.0}] * 2


# -- frameworks ----------------------------------------------------------------------------------------------

@pytest.mark.frameworks
@pytest.mark.parametrize("module, needed",
                         [("lightning", "run"), ("transformers", "none"), ("keras", "none")])
def test_loggers_and_callbacks_copy_and_pickle(tmp_path, module, needed):
    code = f"""
        import copy, pickle
        import runicorn
        from runicorn.integrations import {module} as glue
        run = runicorn.init(project="p", name="n", config={{"lr": 1}}, system=False)
        made = glue.RunicornLogger(run=run) if {needed!r} == "run" else glue.RunicornCallback()
        made._run = run
        twin = copy.deepcopy(made)
        assert twin is not made and twin._run is run
        back = pickle.loads(pickle.dumps(made))
        assert back._run is run
        if {needed!r} == "run":
            assert back.name == "n" and back.version == run.id
        run.log({{"a": 1}})
    """
    train(tmp_path, textwrap.dedent(code), timeout=120, KERAS_BACKEND="torch")
    assert len(rows(only(tmp_path))) == 1


SPAWNED = """
    import logging, warnings
    warnings.simplefilter("ignore")
    import pytorch_lightning as lightning
    import torch
    from runicorn.integrations.lightning import RunicornLogger

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)
        def training_step(self, batch, index):
            loss = self.layer(batch).square().mean()
            self.log("train/loss", loss)
            return loss
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    if __name__ == "__main__":
        logger = RunicornLogger(project="p", name="spawned", system=False)
        logger.log_hyperparams({"lr": 0.1})             # the first use: the run begins here
        data = torch.utils.data.DataLoader(torch.randn(16, 4), batch_size=4)
        trainer = lightning.Trainer(max_epochs=1, logger=logger, log_every_n_steps=1, accelerator="cpu",
                                    devices=2, strategy="ddp_spawn", enable_progress_bar=False,
                                    enable_checkpointing=False)
        trainer.fit(Model(), data)
"""


@pytest.mark.frameworks
def test_lightnings_spawned_processes_after_the_first_use_are_recorded(tmp_path):
    """The run that the first process began can't be written by another; rank 0 of the spawned ones makes one
    of its own."""
    _, err = train(tmp_path, textwrap.dedent(SPAWNED), timeout=300)
    logged = [[row["step"] for row in rows(folder) if "train/loss" in row["data"]]
              for folder in runs(tmp_path)]
    assert sorted(logged) == [[], [0, 1]], err
