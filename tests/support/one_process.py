"""Fixtures for tests that log within their own process, each as if it were a process of its own."""

import pytest

import runicorn
from runicorn.writer.notice import _sentences


@pytest.fixture(autouse=True)
def quiet():
    """Each message is said once a process; here each test is a process."""
    _sentences.clear()
    yield
    runicorn.finish()


@pytest.fixture
def begin(tmp_path):
    """init(...) with a root of its own, no captured output, no samples."""
    def begin(**more):
        return runicorn.init(**{"project": "p", "name": "n", "storage": tmp_path / "root", "capture": False,
                                "system": False, **more})
    return begin
