"""The glue to frameworks, with the real frameworks: a small training each, in a process of its own."""

import subprocess
import sys
import textwrap

import pytest
from scripts import environment, only, rows, small, train

QUIET = "import logging, os, warnings\nwarnings.simplefilter('ignore')\nlogging.disable(logging.WARNING)\n"


def test_lightning(tmp_path):
    train(tmp_path, QUIET + textwrap.dedent("""
        import pytorch_lightning as lightning
        import torch
        from runicorn.integrations.lightning import RunicornLogger

        class Model(lightning.LightningModule):
            def __init__(self, lr=0.1):
                super().__init__()
                self.save_hyperparameters()
                self.layer = torch.nn.Linear(4, 1)
            def training_step(self, batch, index):
                loss = self.layer(batch).square().mean()
                self.log("train/loss", loss)
                return loss
            def validation_step(self, batch, index):
                self.log("val/loss", self.layer(batch).square().mean())
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

        data = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=8)
        logger = RunicornLogger(project="p", name="lightning")
        trainer = lightning.Trainer(max_epochs=2, logger=logger, log_every_n_steps=1, accelerator="cpu",
                                    enable_progress_bar=False)
        trainer.fit(Model(), data, data)
        assert logger.name == "lightning" and logger.version == logger.experiment.id
        assert logger.save_dir == str(logger.experiment.dir)
        """), timeout=120)
    run = only(tmp_path)
    found = [(row["step"], key) for row in rows(run)
             for key in row["data"] if key in ("train/loss", "val/loss")]
    assert [step for step, key in found if key == "train/loss"] == list(range(8))
    assert [step for step, key in found if key == "val/loss"] == [3, 7]
    assert small(run, "meta")["config"]["lr"] == 0.1 and small(run, "status")["status"] == "finished"
    assert list(run.glob("**/*.ckpt"))          # Lightning's checkpoints lie in the run


@pytest.mark.frameworks
def test_lightning_by_its_own_command_line(tmp_path):
    """LightningCLI makes the logger from a YAML file or from arguments, by what jsonargparse reads in the
    source of its class."""
    code = QUIET + textwrap.dedent("""
        import torch
        from pytorch_lightning import LightningModule
        from pytorch_lightning.cli import LightningCLI

        class Model(LightningModule):
            def __init__(self, lr: float = 0.1):
                super().__init__()
                self.save_hyperparameters()
                self.layer = torch.nn.Linear(4, 1)
            def training_step(self, batch, index):
                loss = self.layer(batch).square().mean()
                self.log("train/loss", loss)
                return loss
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)
            def train_dataloader(self):
                return torch.utils.data.DataLoader(torch.randn(16, 4), batch_size=8)

        LightningCLI(Model)
        """)
    (tmp_path / "given.yaml").write_text("""
model: {lr: 0.25}
trainer:
  logger: {class_path: runicorn.integrations.lightning.RunicornLogger,
           init_args: {project: p, name: yaml, tags: [a, b]}}
""")
    logger = "runicorn.integrations.lightning.RunicornLogger"
    options = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu",
               "--trainer.enable_progress_bar=false"]
    for folder, given in (("file", ["--config=../given.yaml"]),
                          ("words", [f"--trainer.logger={logger}", "--trainer.logger.project=p",
                                     "--trainer.logger.name=words", "--trainer.logger.tags=[a,b]",
                                     "--model.lr=0.25"])):
        (tmp_path / folder).mkdir()
        train(tmp_path / folder, f"import sys\nsys.argv[1:] = {['fit', *options, *given]}\n" + code,
              timeout=120)
        run = only(tmp_path / folder)
        meta = small(run, "meta")
        assert (meta["project"], meta["name"], meta["tags"]) == (
            "p", {"file": "yaml", "words": "words"}[folder], ["a", "b"])
        assert meta["config"]["lr"] == 0.25
        assert [row["step"] for row in rows(run) if "train/loss" in row["data"]] == [0, 1]


@pytest.mark.frameworks
def test_transformers(tmp_path):
    train(tmp_path, QUIET + textwrap.dedent("""
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
        from runicorn.integrations.transformers import RunicornCallback

        model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16, n_positions=8,
                                           bos_token_id=0, eos_token_id=0))
        data = [{"input_ids": torch.arange(8), "labels": torch.arange(8)}] * 16
        args = TrainingArguments("out", max_steps=4, logging_steps=1, per_device_train_batch_size=2,
                                 eval_strategy="steps", eval_steps=2, report_to=[], save_strategy="no",
                                 use_cpu=True, disable_tqdm=True)
        Trainer(model, args, train_dataset=data, eval_dataset=data[:2],
                callbacks=[RunicornCallback(project="p", name="hf")]).train()
        """), timeout=180)
    run = only(tmp_path)
    data = [(row["step"], row["data"]) for row in rows(run)]
    assert [step for step, row in data if "train/learning_rate" in row] == [1, 2, 3, 4]
    assert [step for step, row in data if "eval/loss" in row] == [2, 4]
    config = small(run, "meta")["config"]
    assert config["max_steps"] == 4 and config["model"]["n_embd"] == 8


@pytest.mark.frameworks
def test_keras(tmp_path):
    train(tmp_path, QUIET + textwrap.dedent("""
        import keras
        import numpy as np
        from runicorn.integrations.keras import RunicornCallback

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        x = np.ones((8, 4), "float32")
        model.fit(x, x[:, :1], epochs=3, batch_size=4, validation_data=(x, x[:, :1]), verbose=0,
                  callbacks=[RunicornCallback(every=2, project="p", name="keras")])
        """), timeout=180, KERAS_BACKEND="torch")
    run = only(tmp_path)
    data = [(row["step"], set(row["data"])) for row in rows(run)]
    assert [step for step, keys in data if keys == {"train/loss", "val/loss"}] == [0, 1, 2]
    assert [step for step, keys in data if keys == {"batch/loss"}] == [0, 2, 4]
    assert small(run, "meta")["config"]["epochs"] == 3


def test_import_runicorn_loads_no_framework(tmp_path):
    code = ("import sys, runicorn\nprint({'pytorch_lightning', 'transformers', 'keras', 'torch', 'numpy', "
            "'pynvml'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), capture_output=True,
                          text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"
