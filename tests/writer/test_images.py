"""Images a run logs, from every kind of source, read back by Pillow."""

import io

import numpy as np
import PIL.Image
import pytest
from scripts import rows

import runicorn

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


@pytest.fixture
def run(tmp_path):
    with runicorn.init(storage=tmp_path, capture=False, system=False) as run:
        yield run


def file_of(kind, data=RGB):
    file = io.BytesIO()
    PIL.Image.fromarray(data).save(file, format=kind)
    return file.getvalue()


def stored(run, row=-1):
    """Return the images that the row names, as arrays."""
    (key, images), = rows(run.dir)[row]["data"].items()
    return [np.asarray(PIL.Image.open(run.dir / image["file"])) for image in images]


@pytest.mark.parametrize("source, expected", [
    (RGB, RGB), (RGB[:, :, 0], RGB[:, :, 0]), (RGB[:, :, :1], RGB[:, :, 0]),
    (np.dstack([RGB, RGB[:, :, 0]]), np.dstack([RGB, RGB[:, :, 0]])),
    (RGB.astype(np.float32) / 255, RGB), (RGB[:, :, 0] > 20, (RGB[:, :, 0] > 20) * 255),
    (RGB.astype(np.int64) + 1000, np.full((4, 5, 3), 255)), (PIL.Image.fromarray(RGB), RGB),
    (file_of("png"), RGB),
], ids=lambda value: f"{type(value).__name__}{getattr(value, 'shape', '')}{getattr(value, 'dtype', '')}")
def test_sources(run, source, expected):
    run.log({"samples": runicorn.Image(source)}, step=3)
    assert rows(run.dir)[0] | {"ts": 0} == {"ts": 0, "step": 3, "type": "image",
                                            "data": {"samples": [{"file": "media/000001.png"}]}}
    assert np.array_equal(stored(run, 0)[0], expected)


def test_a_tensor_with_its_channels_first_or_last(run):
    import torch  # seconds, which each process that collects the tests would wait for
    run.log({"first": runicorn.Image(torch.tensor(RGB).permute(2, 0, 1))})
    run.log({"last": runicorn.Image(torch.tensor(RGB / 255, requires_grad=True))})
    assert np.array_equal(stored(run, 0)[0], RGB) and np.array_equal(stored(run, 1)[0], RGB)


def test_a_path_keeps_its_kind(run, tmp_path):
    (tmp_path / "photo").write_bytes(file_of("jpeg"))
    run.log({"photo": runicorn.Image(tmp_path / "photo")})
    assert rows(run.dir)[0]["data"]["photo"][0]["file"] == "media/000001.jpg"
    assert (run.dir / "media" / "000001.jpg").read_bytes() == file_of("jpeg")


def test_images_beside_metrics_lists_and_captions(run):
    run.log({"loss": 1.0,
             "deep": {"samples": [runicorn.Image(RGB, caption="one"), runicorn.Image(RGB[::-1])]}}, step=7)
    image, metrics = rows(run.dir)
    assert image["data"] == {
        "deep/samples": [{"file": "media/000001.png", "caption": "one"}, {"file": "media/000002.png"}]}
    assert metrics["data"] == {"loss": 1.0} and metrics["step"] == image["step"] == 7
    assert np.array_equal(stored(run, 0)[1], RGB[::-1])


@pytest.mark.parametrize("source",
                         ["/no/such/file.png", b"no image", np.zeros((5, 5, 9)), np.zeros(4),
                          np.zeros((0, 3)), object(), None])
def test_what_is_no_image_is_named_and_left_out(run, capsys, source):
    from runicorn.writer.notice import _sentences
    _sentences.clear()
    run.log({"bad": runicorn.Image(source), "loss": 1.0})
    assert [row["data"] for row in rows(run.dir)] == [{"loss": 1.0}]
    assert "'bad' was not logged" in capsys.readouterr().err


def test_a_resumed_run_writes_over_no_image(tmp_path):
    for attempt in (1, 2):
        with runicorn.init(storage=tmp_path, capture=False, system=False, id="abc", resume="allow") as run:
            run.log({"x": runicorn.Image(RGB + attempt)})
    assert rows(run.dir, "events.2.jsonl")[0]["data"]["x"] == [{"file": "media/000002.png"}]
    assert np.array_equal(stored(run, 0)[0], RGB + 1)


def test_a_bitmap_is_an_image_for_the_pages_and_a_sound_is_none(run, capsys):
    from runicorn.viewer import run_files
    run.log({"map": runicorn.Image(file_of("bmp"))})
    assert rows(run.dir)[0]["data"]["map"][0]["file"].endswith(".bmp") and ".bmp" in run_files.IMAGES
    run.log({"sound": runicorn.Image(b"RIFF\x24\0\0\0WAVEfmt ")})
    assert "sound" in capsys.readouterr().err and len(rows(run.dir)) == 1
