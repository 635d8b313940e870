"""Small trainings that log through W&B's package, as scripts and frameworks do: {name: source}. Each is run
with the real package and with ours; what it prints does not matter."""

HEAD = """
import os, random, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import torch
random.seed(0); np.random.seed(0); torch.manual_seed(0); torch.set_num_threads(1)
"""

NANO = HEAD + """
import time
out_dir, wandb_log, wandb_project, wandb_run_name = "out", True, "owt", "gpt2-mini"
batch_size, block_size, vocab, eval_interval, max_iters, learning_rate = 4, 8, 16, 5, 20, 1e-2
config_keys = [k for k, v in globals().items()
               if not k.startswith("_") and isinstance(v, (int, float, bool, str))]
config = {k: globals()[k] for k in config_keys}
model = torch.nn.Sequential(torch.nn.Embedding(vocab, 16), torch.nn.Linear(16, vocab))
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
data = torch.randint(0, vocab, (1000,))
def get_batch():
    ix = torch.randint(len(data) - block_size, (batch_size,))
    return (torch.stack([data[i:i + block_size] for i in ix]),
            torch.stack([data[i + 1:i + 1 + block_size] for i in ix]))
def loss_of():
    x, y = get_batch()
    return torch.nn.functional.cross_entropy(model(x).view(-1, vocab), y.view(-1))
@torch.no_grad()
def estimate_loss():
    return {split: torch.tensor([loss_of().item() for _ in range(3)]).mean() for split in ("train", "val")}
if wandb_log:
    import wandb
    wandb.init(project=wandb_project, name=wandb_run_name, config=config)
iter_num = 0
while True:
    if iter_num % eval_interval == 0:
        losses = estimate_loss()
        if wandb_log:
            wandb.log({"iter": iter_num, "train/loss": losses["train"], "val/loss": losses["val"],
                       "lr": learning_rate, "mfu": -1.0 * 100})
    loss = loss_of()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    iter_num += 1
    if iter_num > max_iters:
        break
"""

PPO = HEAD + """
import argparse, importlib.util, time
from torch.utils.tensorboard import SummaryWriter
args = argparse.Namespace(exp_name="ppo", env_id="Corridor-v0", seed=1, track=True,
                          wandb_project_name="cleanRL", wandb_entity=None,
                          learning_rate=2.5e-4, total_timesteps=400, num_steps=40)
run_name = f"{args.env_id}__{args.exp_name}__{args.seed}"
if args.track:
    import wandb
    wandb.init(project=args.wandb_project_name, entity=args.wandb_entity, sync_tensorboard=True,
               config=vars(args), name=run_name,
               monitor_gym=importlib.util.find_spec("gymnasium") is not None, save_code=True)
writer = SummaryWriter(f"runs/{run_name}")
writer.add_text("hyperparameters",
                "|param|value|\\n|-|-|\\n%s" % (
                    "\\n".join([f"|{key}|{value}|" for key, value in vars(args).items()])))
agent = torch.nn.Linear(3, 2)
optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
global_step = 0
for update in range(1, args.total_timesteps // args.num_steps + 1):
    for step in range(args.num_steps):
        global_step += 1
        if global_step % 17 == 0:
            writer.add_scalar("charts/episodic_return", random.random() * 100, global_step)
            writer.add_scalar("charts/episodic_length", random.randint(10, 100), global_step)
    loss = agent(torch.randn(8, 3)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    writer.add_scalar("charts/learning_rate", optimizer.param_groups[0]["lr"], global_step)
    writer.add_scalar("losses/value_loss", loss.item(), global_step)
    writer.add_scalar("losses/explained_variance", np.float64("nan"), global_step)
writer.close()
"""

ACCELERATE = HEAD + """
from accelerate import Accelerator
accelerator = Accelerator(log_with="wandb", cpu=True)
accelerator.init_trackers("project", config={"lr": 0.1, "n": 3},
                          init_kwargs={"wandb": {"name": "acc", "tags": ["t"]}})
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=8)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
step = 0
for epoch in range(2):
    for batch in loader:
        loss = model(batch).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"train/loss": loss, "epoch": epoch}, step=step)
        step += 1
accelerator.log({"final": 1.5})
accelerator.end_training()
"""

LIGHTNING = HEAD + """
import logging
logging.disable(logging.WARNING)
import pytorch_lightning as lightning
from pytorch_lightning.loggers import WandbLogger
class Model(lightning.LightningModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss
    def validation_step(self, batch, index):
        self.log("val/loss", self.layer(batch).square().mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)
data = torch.utils.data.DataLoader(torch.randn(32, 4), batch_size=8)
logger = WandbLogger(project="lightning", name="n", log_model=True)
trainer = lightning.Trainer(max_epochs=2, logger=logger, log_every_n_steps=1, accelerator="cpu",
                            enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Model(), data, data)
logger.watch(torch.nn.Linear(1, 1))
logger.log_table("samples", columns=["a"], data=[[1]])
logger.log_image("images", images=[np.zeros((4, 4, 3), dtype=np.uint8)])
import wandb
wandb.finish()
"""

TRANSFORMERS = HEAD + """
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
rows = [{"input_ids": torch.randint(0, 32, (8,)), "labels": torch.randint(0, 32, (8,))} for _ in range(32)]
arguments = TrainingArguments(output_dir="out", report_to="wandb", run_name="hf", num_train_epochs=2,
                              per_device_train_batch_size=8, logging_steps=1, eval_strategy="epoch",
                              save_strategy="no", use_cpu=True, seed=0)
trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows[:8])
trainer.train()
trainer.evaluate()
"""

TRL = HEAD + """
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer
texts = [f"the number {i} is {'even' if i % 2 == 0 else 'odd'}" for i in range(24)]
tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>", "<eos>"]))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>",
                                    eos_token="<eos>")
model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=1, n_head=2))
arguments = SFTConfig(output_dir="out", report_to="wandb", run_name="sft", max_steps=6,
                      per_device_train_batch_size=4, logging_steps=1,
                      save_strategy="no", use_cpu=True, bf16=False, seed=0, max_length=16)
SFTTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict({"text": texts}),
           processing_class=tokenizer).train()
"""

ULTRALYTICS = HEAD + """
from pathlib import Path
import PIL.Image
os.environ["YOLO_CONFIG_DIR"] = os.getcwd()
os.environ["YOLO_OFFLINE"] = "true"
from ultralytics import YOLO, settings
settings.update({"wandb": True, "tensorboard": False, "sync": False, "datasets_dir": os.getcwd()})
for split in ("train", "val"):
    Path("data", "images", split).mkdir(parents=True)
    Path("data", "labels", split).mkdir(parents=True)
    for index in range(4):
        picture = np.full((64, 64, 3), 30, dtype=np.uint8)
        picture[10:30, 10 + index:30 + index] = 220
        PIL.Image.fromarray(picture).save(f"data/images/{split}/{index}.png")
        Path("data", "labels", split, f"{index}.txt").write_text(
            f"0 {(20 + index) / 64} {20 / 64} {20 / 64} {20 / 64}\\n")
Path("data.yaml").write_text(
    f"path: {os.getcwd()}/data\\ntrain: images/train\\nval: images/val\\nnames:\\n  0: square\\n")
YOLO("yolov8n.yaml").train(data="data.yaml", epochs=2, imgsz=64, batch=2, device="cpu", workers=0, seed=0,
                           plots=True, amp=False, project=os.getcwd() + "/proj", name="y")
"""

SB3 = HEAD + """
import gymnasium
import wandb
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from wandb.integration.sb3 import WandbCallback
config = {"policy_type": "MlpPolicy", "total_timesteps": 256, "env_name": "CartPole-v1"}
run = wandb.init(project="sb3", config=config, sync_tensorboard=True, monitor_gym=True, save_code=True)
env = Monitor(gymnasium.make(config["env_name"]))
model = PPO(config["policy_type"], env, verbose=0, tensorboard_log=f"runs/{run.id}", n_steps=64,
            batch_size=32, seed=0, device="cpu")
model.learn(total_timesteps=config["total_timesteps"],
            callback=WandbCallback(model_save_path=f"models/{run.id}", verbose=2))
assert os.path.exists(f"models/{run.id}/model.zip")
run.finish()
"""

TIMM = HEAD + """
from collections import OrderedDict
import timm, wandb
from timm.utils import update_summary
model = timm.create_model("resnet10t", num_classes=2)
wandb.init(project="timm", config={"model": "resnet10t"})
for epoch in range(3):
    train = OrderedDict([("loss", random.random())])
    evaluation = OrderedDict([("loss", random.random()), ("top1", 50.0 + epoch), ("top5", 100.0)])
    update_summary(epoch, train, evaluation, filename="summary.csv", lr=0.1 * epoch, write_header=epoch == 0,
                   log_wandb=True)
"""

HYDRA = HEAD + """
import hydra, wandb
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
os.makedirs("conf", exist_ok=True)
open("conf/config.yaml", "w").write("lr: 0.1\\nmodel:\\n  width: 4\\n")
sys.argv += ["--multirun", "lr=0.1,0.2", "model.width=4,8"]
@hydra.main(version_base=None, config_path=os.getcwd() + "/conf", config_name="config")
def main(cfg):
    wandb.config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    run = wandb.init(project="hydra", name=f"job{HydraConfig.get().job.num}", reinit=True,
                     config=OmegaConf.to_container(cfg, resolve=True))
    for step in range(3):
        wandb.log({"loss": cfg.lr / (step + 1), "width": cfg.model.width})
    run.finish()
main()
"""

OPTUNA = HEAD + """
import optuna, wandb
from optuna_integration.wandb import WeightsAndBiasesCallback
optuna.logging.disable_default_handler()
callback = WeightsAndBiasesCallback(metric_name="accuracy", wandb_kwargs={"project": "optuna"},
                                    as_multirun=MULTI)
@callback.track_in_wandb()
def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    wandb.log({"power": 2, "base": x - 2})
    return (x - 2) ** 2
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials=4, callbacks=[callback])
wandb.finish()
"""

# By the callback, whose actor logs from a folder of Ray's own, and by a run that the trial begins itself
RAY = """
import os
import ray
from ray import tune
from ray.air.integrations.wandb import WandbLoggerCallback, setup_wandb
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
def train(config):
    for step in range(3):
        tune.report({"loss": config["lr"] * (step + 1)})
def inside(config):
    run = setup_wandb(config, project="ray", api_key="0" * 40)
    for step in range(3):
        run.log({"loss": config["lr"] * (step + 1)})
        tune.report({"loss": 1.0})
    run.finish()
callback = WandbLoggerCallback(project="ray", api_key="0" * 40)
for function, callbacks, lr in ((train, [callback], 0.1), (inside, [], 0.2)):
    tune.Tuner(function, param_space={"lr": tune.grid_search([lr])}, run_config=tune.RunConfig(
        name="exp", storage_path=os.getcwd() + "/ray", verbose=0, callbacks=callbacks)).fit()
ray.shutdown()
"""

# Of no framework: the calls of every script, for the price of the packages alone.
PLAIN = """
import wandb
run = wandb.init(project="plain", config={"lr": 0.1, "layers": [1, 2]})
for step in range(10):
    wandb.log({"train/loss": 1 / (step + 1)}, commit=step % 3 == 2)
    if step % 5 == 0:
        run.log({"val/acc": step / 10, "nan": float("nan")}, step=step + 20)
run.summary["best"] = 0.5
run.finish()
"""

TRAININGS = {"plain": PLAIN, "nanogpt": NANO, "ppo": PPO, "accelerate": ACCELERATE, "lightning": LIGHTNING,
             "transformers": TRANSFORMERS, "trl": TRL, "ultralytics": ULTRALYTICS, "sb3": SB3, "timm": TIMM,
             "hydra": HYDRA, "optuna": OPTUNA.replace("MULTI", "False"),
             "optuna-multirun": OPTUNA.replace("MULTI", "True"), "ray": RAY}
