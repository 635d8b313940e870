"""The folder that, first on PYTHONPATH, makes a program's `import wandb` find `runicorn.wandb`. Alone:
`runicorn run` writes one at its start, and the package itself takes longer to load."""

import os

from runicorn.version import WANDB

# Of the folder `here`; the package lies in `home`, unless the program's Python has one of its own. What goes
# wrong leaves the real one.
LOADED = """\
import importlib, importlib.machinery, importlib.util, os, sys

here, home = {here!r}, {home!r}
sys.path[:] = [path for path in sys.path if path != here]
real = importlib.machinery.PathFinder.find_spec("wandb")
sys.path.insert(0, here)
try:
    if "runicorn" not in sys.modules and importlib.util.find_spec("runicorn") is None:
        folder = os.path.join(home, "runicorn")
        spec = importlib.util.spec_from_file_location("runicorn", os.path.join(folder, "__init__.py"),
                                                      submodule_search_locations=[folder])
        sys.modules["runicorn"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["runicorn"])
    importlib.import_module("runicorn.wandb.aliases").install()
    if real is not None and "RUNICORN_WANDB_SAID" not in os.environ and os.environ.get("RANK", "0") == "0":
        os.environ["RUNICORN_WANDB_SAID"] = "1"
        print("runicorn: what this program logs with wandb goes into its run, not to W&B "
              "(runicorn run --no-wandb leaves it to W&B)", file=sys.stderr)
except Exception:
    sys.modules.pop("runicorn", None)
    if real is None:
        raise
    sys.path[:] = [path for path in sys.path if path != here]
    del sys.modules["wandb"]
    import wandb
"""
RECORD = (f"Metadata-Version: 2.1\nName: wandb\nVersion: {WANDB}\n"
          "Summary: the names of W&B, answered by Runicorn\n")


def fill_folder(folder):
    """Write into `folder` (str) what makes `import wandb`, and `importlib.metadata.version("wandb")`, find
    our package where the folder is first on PYTHONPATH. Raises OSError."""
    loaded = LOADED.format(here=folder, home=os.path.abspath(
                                                             os.path.join(os.path.dirname(__file__),
                                                                          os.pardir, os.pardir)))
    for name, file, text in (("wandb", "__init__.py", loaded),
                             (f"wandb-{WANDB}.dist-info", "METADATA", RECORD)):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, name, file), "w", encoding="utf-8") as stream:
            stream.write(text)
