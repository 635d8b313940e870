"""Trainings of a user who may do little, and files that will not open."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from scripts import train

NOBODY = """
import encodings.unicode_escape, hashlib, os, pathlib, pwd, resource, shutil, subprocess, traceback
import runicorn
os.setgroups([1234])    # a group of the lab
os.setgid(65534)
os.setuid(65534)        # after the imports: the interpreter itself may lie where nobody else can read
"""


def as_nobody(folder, code, expect=0, **environ):
    """Run a script as the user nobody (65534), for whom modes count; returns its stderr."""
    os.chmod(folder, 0o755)
    return train(folder, NOBODY + code, expect, **environ)[1]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


@pytest.fixture
def open_path(tmp_path_factory):
    """A folder other users can reach: pytest's own are 0700."""
    folder = Path(tempfile.mkdtemp(prefix="runicorn-test-", dir="/tmp"))
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


# that the other user may run
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
