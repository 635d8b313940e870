"""Every place where a name that came from outside meets a path of this machine, tried with what names mean on
Windows."""

import io
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_runs import beat, write_run
from viewers import Viewer

from runicorn import assets, layout, local_names, manifest, settings
from runicorn.cli import export as export_command
from runicorn.errors import LayoutError, NotFoundError, RunicornError
from runicorn.reader import local_root
from runicorn.transfer import bundle, check, export
from runicorn.viewer import run_files

RUN = "p/n/runs/20250101_000000_abcdef"
DRIVES = ["C:", "c:x", "D:\\x", "\\x", "\\\\evil\\share", "..\\..\\x", "\\\\?\\C:\\x", "\\\\.\\pipe\\x",
          "??\\C:\\x"]
STREAMS = ["meta.json:x", "meta.json::$DATA", "a:", ":a"]
DEVICES = ["nul", "NUL", "con", "prn", "aux", "com1", "COM9.txt", "lpt1.tar.gz", "com\u00b9",
           "com\u00b2.json", "LPT\u00b3", "conin$", "CONOUT$", "conin$.txt", "nul.json", "nul .txt", "aux  ",
           "Con.x.y", "com0"]
ENDS = ["a.", "a ", "a..", "...", "a. .", " ", ". "]
OTHERS = ["a*", "a?", 'a"b', "a<b", "a>b", "a|b", "a\x01b", "a\tb", "a\nb"]
NAMES = [*DRIVES, *STREAMS, *DEVICES, *ENDS, *OTHERS]
PLAIN = ["meta.json", "a b", ".beat", "console", "com", "com10", "nul2", "nulx.txt", "auxiliary", "lpt",
         "conin", "a$b", "a~1", "图", "a.b.c"]


@pytest.fixture
def windows(monkeypatch):
    """Have names mean what they do on Windows."""
    for function in (local_names.is_plain, local_names.inside):
        monkeypatch.setattr(function, "__defaults__", (True,))


@pytest.fixture
def touched(monkeypatch):
    """Note every path that is asked of the system (list of str)."""
    asked = []
    for module, name in ((os, "stat"), (os, "lstat"), (os, "open"), (os, "scandir"), (io, "open")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name,
                            lambda path, *more, real=real, **words: (asked.append(str(path)),
                                                                     real(path, *more, **words))[1])
    return asked


# -- what is plain -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_means_something_else_there_is_not_plain(name, tmp_path):
    for path in (name, f"media/{name}", f"{name}/x"):
        assert not local_names.is_plain(path, windows=True)
        with pytest.raises(LayoutError):
            local_names.inside(tmp_path, path, windows=True)


@pytest.mark.posix
@pytest.mark.parametrize("name", NAMES)
def test_elsewhere_it_is(name, tmp_path):
    for path in (name, f"media/{name}", f"{name}/x"):
        assert local_names.is_plain(path, windows=False)
        assert Path(local_names.inside(tmp_path, path, windows=False)) == tmp_path / path


@pytest.mark.parametrize("name", PLAIN)
def test_other_names_are(name, tmp_path):
    assert local_names.is_plain(f"media/{name}", windows=True)
    assert Path(local_names.inside(tmp_path, f"media/{name}", windows=True)) == tmp_path / "media" / name


@pytest.mark.parametrize("name", NAMES)
def test_whatever_becomes_a_folder_or_a_file_of_ours_is_plain(name):
    """Slugs (projects, experiments, ids, live files, connections, bundles' notes) and what a mirror calls a
    server's file."""
    made = [layout.slug(name), local_names.connection_slug(name), local_names.local_name(name),
            local_names.local_name(name, hidden=False), layout.run_path(name, name, name)]
    assert [path for path in made if not local_names.is_plain(path, windows=True)] == []
    assert len({layout.slug(other) for other in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name",
                         [*NAMES, "../x", "/etc/passwd", "a/../../x", "index.html/", "index.html\u00a0"])
def test_no_page_has_such_a_name(name, touched):
    with pytest.raises(FileNotFoundError):
        assets.read(name)
    assert not touched


# -- files of runs -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_no_file_of_a_run_is_opened_by_such_a_name(tmp_path, monkeypatch, windows, touched, name):
    folder = write_run(tmp_path, "p", "n", "20250101_000000_abcdef")
    monkeypatch.setattr(os, "supports_dir_fd", set())
    touched.clear()
    for path in (name, f"media/{name}", f"{name}/meta.json"):
        with pytest.raises((LayoutError, NotFoundError)):
            run_files.opened(folder, path)
    assert not [path for path in touched if name in path.replace(str(tmp_path), "")]
    run_files.opened(folder, "meta.json").close()
    assert touched


def test_the_api_answers_such_names_without_touching_them(tmp_path, home, monkeypatch, windows, touched):
    """Keys of runs, files, logs, pages, connections: all in one viewer."""
    write_run(tmp_path / "root", "p", "n", "20250101_000000_abcdef")
    site = Viewer(home, tmp_path / "root")
    key = "local:p/n/20250101_000000_abcdef"
    try:
        site.ask("GET", "/api/runs")
        touched.clear()
        answers = set()
        for name in (name for name in NAMES if len(name) > 3):
            part = "".join(f"%{byte:02X}" for byte in name.encode())
            for path in (f"/api/runs/local:p/n/{part}", f"/api/runs/{part}",
                         f"/api/file?run={part}&name=meta.json",
                         f"/api/file?run=local:{part}/{part}/{part}&name=meta.json",
                         f"/api/logs?run={key}&file={part}", f"/static/{part}", f"/static/uplot/{part}",
                         f"/api/export?run={part}&format=csv", f"/api/connections/{part}",
                         f"/api/cache/{part}", f"/api/logs?run={part}",
                         f"/api/export?run={key}&format={part}"):
                answers.add(site.ask("GET", path)[0])
        assert answers <= {400, 404, 405} and 404 in answers
        assert not [path for path in touched for name in NAMES if len(name) > 3 and name in path]
    finally:
        site.stop()


def test_an_index_that_somebody_left_in_a_root_leads_nowhere(tmp_path, monkeypatch, windows, touched):
    write_run(tmp_path, "p", "n", "20250101_000000_abcdef")
    manifest.main([str(tmp_path)])
    path = tmp_path / ".runicorn" / manifest.FULL
    whole = json.loads(path.read_text())
    entry = whole["runs"][RUN]
    whole["runs"].update({run: entry for name in NAMES
                          for run in (f"{name}/n/runs/i", f"p/{name}/runs/i", f"p/n/runs/{name}")})
    path.write_text(json.dumps(whole))
    touched.clear()
    root = local_root.LocalRoot("local", tmp_path)
    root.begin(look=True, shown=list)
    assert list(root.records) == [RUN]
    root.look(0.0)
    assert not [path for path in touched if "evil" in path or "nul" in path.split("/")]


@pytest.mark.parametrize("name", NAMES)
def test_check_looks_for_no_image_and_no_run_there(tmp_path, windows, touched, name):
    """To ask for \\\\evil\\share sends this user's name and a hash of his password there."""
    folder = write_run(tmp_path, "p", "n", "20250101_000000_abcdef")
    rows = [{"ts": 1.0, "step": 0, "type": "image",
             "data": {"a": {"file": name}, "b": [{"file": f"media/{name}"}]}}]
    with open(folder / "events.jsonl", "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    beat(tmp_path, folder, "x")
    live = tmp_path / ".runicorn" / "live" / "x.json"
    live.write_text(json.dumps({"path": name}))
    touched.clear()
    found = [finding.text for finding in check.check(tmp_path) if finding.wrong]
    assert len([text for text in found if text.startswith("image:")]) == 2
    assert len([text for text in found if "names the run" in text]) == 1
    assert not [path for path in touched if path.endswith(name)]


def test_check_still_finds_what_is_there(tmp_path, windows):
    folder = write_run(tmp_path, "p", "n", "20250101_000000_abcdef")
    (folder / "media").mkdir()
    (folder / "media" / "a~ b.png").write_bytes(b"x")
    with open(folder / "events.jsonl", "a") as file:
        file.write(json.dumps({"ts": 1.0, "step": 0, "type": "image",
                               "data": {"a": {"file": "media/a~ b.png"}}}) + "\n")
    beat(tmp_path, folder, "x")
    assert [finding for finding in check.check(tmp_path) if finding.wrong] == []


# -- in and out ----------------------------------------------------------------------------------------------

def test_what_a_bundle_brings_has_plain_names_here(tmp_path):
    here = tmp_path / "here"
    entries, output = [], str(tmp_path / "a.tar.gz")
    for name in NAMES:
        entries += [(RUN, name), (RUN, f"media/{name}"), (f"{name}/{name}/runs/{name}", "meta.json")]
    pack(output, entries)
    report = bundle.take_in(output, here)
    made = [path.relative_to(here).as_posix() for path in here.rglob("*")]
    assert report["files"] == len(entries)
    assert report["put"] + report["clash"] + report["unchanged"] == len(entries)
    assert len(made) > len(NAMES)
    assert [path for path in made if not local_names.is_plain(path, windows=True)] == []


def pack(output, entries):
    """Write a bundle by hand: what a hostile one may hold."""
    import hashlib
    import tarfile
    with tarfile.open(output, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        bundle._put_note(archive, "bundle.json", {"format": 1, "kind": "runicorn bundle"})
        for number, (path, name) in enumerate(entries):
            member = tarfile.TarInfo(str(number))
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
            bundle._put_note(archive, f"{number}.json",
                             {"path": path, "name": name, "offset": 0, "size": 1, "mtime": 1.0, "whole": True,
                               "sha256": hashlib.sha256(b"x").hexdigest()})
        bundle._put_note(archive, "end.json", {"files": len(entries)})


@pytest.mark.parametrize("name", NAMES)
def test_what_an_export_is_called_is_plain(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for form in export_command.FORMATS:
        options = SimpleNamespace(output=None, format=form, force=False)
        target = export_command.destination({"id": name, "started": 5.0}, options)
        assert local_names.is_plain(target.replace(os.sep, "/"), windows=True)


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_in_an_exported_archive_is_plain(monkeypatch, name):
    """Some programs that unpack one on Windows take a \\\\ for what parts folders."""
    monkeypatch.setattr(export, "told", lambda reader, key: {"id": name, "started": 5.0})
    monkeypatch.setattr(export, "rows", lambda reader, key: None)
    monkeypatch.setattr(export, "tensorboard", lambda rows, facts: iter([b"x"]))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(export.stream(None, "key", "tensorboard"))))
    assert [member for member in archive.namelist() if not local_names.is_plain(member, windows=True)] == []
    assert archive.namelist() and archive.namelist()[0].endswith("/events.out.tfevents.5.runicorn")


def test_the_settings_know_no_connection_by_such_a_name_and_save_none_elsewhere(home, touched):
    refused = 0
    for name in NAMES:
        with pytest.raises(NotFoundError):
            settings.connection(home, name)
        try:
            saved = settings.save_connection(home, {"name": name, "host": "127.0.0.1", "user": "u"})
        except RunicornError:
            refused += 1
            continue
        assert local_names.is_plain(local_names.connection_slug(saved["name"]), windows=True)
        settings.remove_connection(home, saved["name"])
    assert refused < len(NAMES)
    assert {os.path.relpath(path, home) for path in touched if "evil" in path} == set()

