"""The version, said once; read by setup.cfg without importing the rest."""

VERSION = "1.0.0"
WANDB = "0.31.0"            # of W&B's package whose names are answered
