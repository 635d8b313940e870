"""What the attacks on a viewer share: pytest_plugins = ["attacked"]."""

import pytest
from catalogs import make_run
from viewers import Viewer


@pytest.fixture
def root(tmp_path):
    """A root (Path) with one run."""
    make_run(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def site(home, root):
    """A viewer on it (viewers.Viewer), on a port of its own."""
    viewer = Viewer(home, root)
    yield viewer
    viewer.stop()
