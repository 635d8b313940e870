"""What the names of files and folders tell of other loggers' runs. Opens no file; Python 3.6 is enough. Apart
from `foreign`, since every `runicorn run` asks it, and few need the rest."""
import re

# What is believed first where two kinds of files in one folder tell the same metric.
KINDS = ("wandb", "tensorboard", "csv", "trainer", "jsonl", "log")
SURE = ("wandb", "tensorboard", "trainer")      # their names tell; of the others, what is in them
SKIPPED_FOLDERS = frozenset(("node_modules", "site-packages", "dist-packages", "__pycache__", "bin", "sbin",
                             "include", "pkgs", "venv", "env", "envs", "lost+found"))
CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})$")
STATE, LOGS = "trainer_state.json", (".log", ".out", ".txt")
TEXTS = (".csv", ".json", ".jsonl", ".ndjson", *LOGS)
# These are compiled when they are needed first: most names need neither
NEVER = (
    r"requirements.*\.txt$|constraints.*\.txt$"
    r"|(?:readme|licen[cs]e|notice|authors|changes|history|top_level|sources|record|cmakelists|robots|classes"
    r"|labels|vocab|merges|words|names|files?|list|train|val|test)\.txt$"
    r"|(?:package|config|tokenizer|vocab|args|settings|index|data|train|val|test|labels|annotations)\.jsonl?$"
    r"|(?:train|test|val|valid|data|dataset|labels?|annotations|metadata|submission|sample_submission)\.csv$")
JSON_LOG = (r"(?:metrics|scalars|log|logs|history|training_log|\d{8}_\d{6})\.json$"
            r"|.*\.log\.json$|.*\.(?:jsonl|ndjson)$")


def is_looked_into(name):
    """Whether a folder that is called `name` (str) may be, or hold, a run of another logger."""
    return name[:1] not in (".", ":") and name not in SKIPPED_FOLDERS


def kind_by_name(name):
    """Return the kind that a file's name speaks of (str), or None; unless that is one of SURE, what is in the
    file decides."""
    if name.startswith("."):
        return None
    if "tfevents" in name:
        return "tensorboard"
    if name.startswith("run-") and name.endswith(".wandb"):
        return "wandb"
    if name == STATE:
        return "trainer"
    low = name.lower()
    if not low.endswith(TEXTS) or re.match(NEVER, low):
        return None
    if low.endswith(".csv"):
        return "csv"
    if low.endswith(LOGS):
        return "log"
    return "jsonl" if re.match(JSON_LOG, low) else None
