"""W&B's artifacts as folders of the run that logs them: RUN/artifacts/NAME/v0 with the files, and
NAME/v0.json with what is known of them. A run that uses one finds it among the runs of the same project."""

import os
import time

from runicorn import disk
from runicorn.layout import META, RUNS, json_bytes, read_json, replace_file, slug
from runicorn.wandb.copies import CALL_SECONDS, copier, copy
from runicorn.writer.images import Medium
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, key_text, plain

FOLDER = "artifacts"


class ArtifactTTL:
    """How long W&B keeps an artifact; ours stay."""

    INHERIT = "INHERIT"

    def __init__(self, *args):
        pass


class Entry:
    """A file of an artifact."""

    def __init__(self, artifact, name, path):
        self._artifact, self.path, self._path = artifact, name, path
        self.size = os.path.getsize(path) if os.path.isfile(path) else 0

    name = property(lambda self: self.path)

    def local_path(self):
        """Return where the file is (str)."""
        self._artifact.wait()
        return self._path

    def download(self, root=None, *args, **kwargs):
        """Copy it below `root`, if one is given; returns its path (str)."""
        self._artifact.wait()
        if root is None:
            return self._path
        copy(self._path, os.path.join(root, self.path))
        return os.path.join(root, self.path)


class Artifact:
    """A named set of files. `run.log_artifact` copies them into the run's folder."""

    version, entity, project, digest, id, ttl, tags, source_version, url = ("latest", "", "", "", "", None,
                                                                            (), "v0", None)

    def __init__(self, name="", type="", description=None, metadata=None, *args, **more):
        self.name, self.type, self.description = key_text(name), key_text(type), description
        self.metadata, self.aliases, self.state, self.files_at = (dict(metadata or {}), ["latest"], "PENDING",
                                                                  {})
        # The second: whether all its files are in the run's folder
        self._drafts, self._is_kept = None, True

    qualified_name = source_name = property(lambda self: self.name)

    def _draft(self, name):
        """Return where a file that has no path of its own is kept until the artifact is logged (str)."""
        if self._drafts is None:
            import tempfile
            self._drafts = tempfile.mkdtemp(prefix="runicorn-artifact-")
        return os.path.join(self._drafts, slug(name))

    def add_file(self, local_path, name=None, *args, **more):
        """Add a file: copied when the artifact is logged."""
        path = os.path.abspath(local_path)
        if not os.path.isfile(path):
            say(f"Artifact.add_file({str(local_path)!r}): there is no such file", once=("add_file", path))
        self.files_at[key_text(name or os.path.basename(path))] = path
        return Entry(self, name or os.path.basename(path), path)

    def add_dir(self, local_path, name=None, *args, **more):
        """Add all files below a folder."""
        for folder, _, names in os.walk(local_path):
            for file in sorted(names):
                path = os.path.join(folder, file)
                below = os.path.relpath(path, local_path).replace(os.sep, "/")
                self.files_at["/".join(filter(None, [name, below]))] = os.path.abspath(path)

    def add_reference(self, uri, name=None, *args, **more):
        """Note where something lies; nothing is fetched."""
        self.metadata.setdefault("references", []).append(key_text(uri))
        return []

    def new_file(self, name, mode="w", encoding=None, *args, **more):
        """Return a new file of the artifact, open for writing."""
        path = self.files_at[name] = self._draft(name)
        return open(path, mode.replace("x", "w"), encoding=None if "b" in mode else encoding or "utf-8")

    def add(self, obj, name, *args, **more):
        """Add a Table or another medium as a file."""
        if isinstance(obj, Medium):
            item, error = attempt(_Loose(os.path.dirname(self._draft(name)), name).file_of, obj)
            if error is None:
                self.files_at[item[0]] = item[1]
        return obj

    def remove(self, item):
        """Take a file out again."""
        self.files_at.pop(getattr(item, "path", item), None)

    def get_path(self, name):
        """Return the Entry of a file. Raises KeyError."""
        return Entry(self, name, self.files_at[name])

    get_entry = get_path

    def get(self, name):
        """Return what was added as `name`, which is a file now: its Entry, or None."""
        names = [file for file in self.files_at if file == name or file.startswith(name + ".")]
        return self.get_path(names[0]) if names else None

    def download(self, root=None, *args, **more):
        """Return the folder (str) where the files are; with a `root`, they are copied there."""
        self.wait()
        if root is None and self.__dict__.get("folder"):
            return self.folder
        root = os.path.abspath(root or os.path.join(FOLDER, slug(self.name)))
        os.makedirs(root, exist_ok=True)
        for name, path in self.files_at.items():
            copy(path, os.path.join(root, name))
        return root

    checkout = download

    def file(self, root=None):
        """Return the path (str) of its only file."""
        self.wait()
        name, path = next(iter(self.files_at.items()), ("", ""))
        return path if root is None else Entry(self, name, path).download(root)

    def files(self, *args, **more):
        """Return the Entries (list)."""
        return [Entry(self, *item) for item in self.files_at.items()]

    @property
    def manifest(self):
        from types import SimpleNamespace
        return SimpleNamespace(entries={name: Entry(self, name, path)
                                        for name, path in self.files_at.items()})

    @property
    def size(self):
        return sum(entry.size for entry in self.files())

    @property
    def file_count(self):
        return len(self.files_at)

    def wait(self, *args, **kwargs):
        """Wait until the run that logged it has copied its files; returns it."""
        copier.wait(lambda: self._is_kept)
        return self

    def save(self, *args, **kwargs):
        """The run that logs it saves it."""

    finalize = link = unlink = delete = verify = save

    def is_draft(self):
        """Whether no run has logged it."""
        return self.state == "PENDING"

    def used_by(self):
        """Not known: none."""
        return []

    def logged_by(self):
        """Not known."""

    def __getattr__(self, name):
        from runicorn.wandb.inert import part
        return part("Artifact", name)

    def moved(self, folder, version):
        """The files are in `folder` now."""
        self.files_at = {name: os.path.join(folder, name) for name in self.files_at}
        self.__dict__.update(folder=folder, version=version)
        self.kept()

    def keep(self, folder, version, facts):
        """Have the files copied into `folder`, and what is known of them (dict) written beside it when all
        are there."""
        until = time.monotonic() + CALL_SECONDS
        targets = {name: os.path.join(folder, *name.split("/")) for name in self.files_at}
        copied = [copier.add(path, targets[name], until)
                  for name, path in self.files_at.items() if os.path.isfile(path)]
        self.__dict__.update(files_at=targets, folder=folder, version=version, _is_kept=all(copied))
        if self._is_kept:
            self._state(facts)
        else:
            copier.then(lambda: self._state(facts))

    def _state(self, facts):
        self.files_at = {name: path for name, path in self.files_at.items() if os.path.isfile(path)}
        replace_file(f"{self.folder}.json", json_bytes({**facts, "files": sorted(self.files_at)}))
        self.kept()

    def kept(self):
        """All its files are copied."""
        self.state, self._is_kept = "COMMITTED", True
        if self._drafts is not None:
            disk.discard_tree(self._drafts)
            self._drafts = None


class _Loose:
    """Writes a medium's files into one folder, as Media does into a run's."""

    def __init__(self, folder, name):
        self._folder, self._name = folder, name

    masked = staticmethod(lambda value: value)

    def write(self, data, ending):
        path = os.path.join(self._folder, f"{slug(self._name)}.{ending}")
        with open(path, "wb") as file:
            file.write(data)
        return path

    def keep(self, medium):
        return {"file": self.write(*medium.encoded())}

    def file_of(self, medium):
        """Return (name in the artifact, path) of the file a medium was written to."""
        path = medium.entry(self)["file"]
        return self._name + path[len(os.path.join(self._folder, slug(self._name))):], path


def log_artifact(run, artifact, name=None, type=None, aliases=None):
    """Copy an Artifact's files, or a path's, into the run's folder; returns the Artifact."""
    if not isinstance(artifact, Artifact):
        path = os.fspath(artifact)
        artifact = Artifact(name or os.path.basename(os.path.abspath(path)) or "files", type or "unspecified")
        (artifact.add_dir if os.path.isdir(path) else artifact.add_file)(path)
    above = os.path.join(run.dir, FOLDER, slug(artifact.name))
    number = sum(os.path.isdir(os.path.join(above, entry))
                 for entry in (os.listdir(above) if os.path.isdir(above) else ()))
    folder = os.path.join(above, f"v{number}")
    os.makedirs(folder)
    artifact.aliases = [*dict.fromkeys([*([aliases] if isinstance(aliases, str) else aliases or ()),
                                        "latest"])]
    facts = {"name": artifact.name, "type": artifact.type, "version": f"v{number}",
             "aliases": artifact.aliases, "created_at": time.time(), "description": artifact.description,
             "metadata": plain(artifact.metadata, "an artifact")}
    artifact.keep(folder, f"v{number}", facts)
    return artifact


def use_artifact(run, artifact, type=None):
    """Return the newest Artifact of a name ("name", "project/name:v3", "name:best") that a run of this
    project logged."""
    if isinstance(artifact, Artifact):
        return artifact
    name, _, version = str(artifact).rpartition("/")[2].partition(":")
    artifacts = sorted(_logged(run, name), key=lambda item: item[0].get("created_at", 0))
    fits = [item for item in artifacts if version in ("", "latest", item[0].get("version"))
            or version in item[0].get("aliases", ())]
    if not fits:
        say(f"use_artifact({str(artifact)!r}): no run of project {run.project} logged it; it has no files",
            once=("use", str(artifact)))
        return Artifact(name, type or "")
    facts, folder = fits[-1]
    used = Artifact(name, facts.get("type", ""), facts.get("description"), facts.get("metadata"))
    used.aliases = facts.get("aliases", [])
    used.files_at = dict.fromkeys(facts.get("files", ()), "")
    used.moved(folder, facts.get("version"))
    return used


def _logged(run, name):
    """Yield (what is known, folder) of each version of an artifact in the runs of this project."""
    runs = os.path.dirname(run.dir)
    project = os.path.dirname(os.path.dirname(runs)) if os.path.basename(runs) == RUNS else None
    folders = ([run.dir] if project is None
               else [os.path.join(project, experiment, RUNS, run_folder)
                     for experiment in os.listdir(project)
                     if os.path.isdir(os.path.join(project, experiment, RUNS))
                     for run_folder in os.listdir(os.path.join(project, experiment, RUNS))])
    for folder in folders:
        above = os.path.join(folder, FOLDER, slug(name))
        is_run = project is None or os.path.exists(os.path.join(folder, META))
        for file in os.listdir(above) if is_run and os.path.isdir(above) else ():
            facts = read_json(os.path.join(above, file)) if file.endswith(".json") else None
            if facts:
                yield facts, os.path.join(above, file[:-5])


def use_model(run, name):
    """Return the path (str) of a model's file, or of its folder if it has several."""
    model = use_artifact(run, name)
    return model.file() if len(model.files_at) == 1 else model.download()
