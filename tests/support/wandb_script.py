"""A small training that logs to W&B offline; run by an interpreter that has the package: wandb_script.py
FOLDER [steps] [kill]."""

import json
import os
import sys


def value_of(step):
    """Return what the script logs at a step, as a dict."""
    return {"loss": 1 / (step + 1), "n": step, "flag": step % 2 == 0,
            "nested": {"a": step * 0.5, "b": {"c": -step}}, "text": "你好",
            "bad": [float("nan"), float("inf"), float("-inf"), 1e-300][step % 4]}


def main(folder, steps=120, kill=False):
    os.environ.update(dict.fromkeys(("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"),
                                    folder),
                      WANDB_MODE="offline", WANDB_SILENT="true", WANDB_CONSOLE="wrap",
                      WANDB_ERROR_REPORTING="false", WANDB_DISABLE_GIT="true", WANDB_DISABLE_CODE="true")
    os.chdir(folder)
    import wandb
    run = wandb.init(project="p1", name="a name",
                     config={"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}}, tags=["t1", "t2"],
                     notes="my notes", group="g", job_type="jt", dir=folder)
    wandb.define_metric("val/*", step_metric="epoch")
    for step in range(steps):
        wandb.log(value_of(step))
        print("line", step)
    if kill:
        import time
        time.sleep(20)                  # newer versions write every 15 s
        os._exit(9)
    picture = {"_type": "image-file", "path": "media/images/x.png", "width": 4, "height": 5}
    histogram = wandb.Histogram([1, 2, 3])
    wandb.log({"h": histogram, "loss": 5.0, "deep": {"h": histogram}, "t": wandb.Html("<p>x</p>"),
               "img": picture}, step=steps + 50)
    wandb.log({"loss": 6.0, "big": 10**30, "list": [1, 2, 3], "np.float": 0.1}, step=steps + 60)
    run.config.update({"later": {"x": 1}})
    run.summary["best"] = 0.5
    run.summary["deeper"] = {"y": 2}
    print("the last 行")
    wandb.finish()
    print(json.dumps({"version": wandb.__version__}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
