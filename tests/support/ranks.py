"""Trainings of several processes."""



BEGIN = "import os, signal, sys, time\nimport runicorn\n"


def torchrun(rank):
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29511", "TORCHELASTIC_RUN_ID": "none"}
