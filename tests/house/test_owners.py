"""No object writes another's fields: its owner does, when it is told or asked. What is not ours has fields
to be written, by name."""

import ast

from owners import writes
from sources import trees

# Of others: argparse, ctypes, errors and threads of Python's, wsgiref, Ray, paramiko; and what is of one
# thread (`inside`).
FOREIGN = {
    ("disk", "error.winerror"), ("local_disk", "kernel.CreateFileW.restype"),
    ("loopback", "kernel.OpenProcess.restype"), ("writer/windows", "kernel.OpenProcess.restype"),
    ("ssh/handshake", "options.ciphers"), ("ssh/handshake", "options.key_types"),
    ("ssh/transport", "channel.in_buffer"), ("viewer/http_server", "self.request_handler.close_connection"),
    ("writer/capture", "inside.text"), ("writer/capture_fd", "self._helper.returncode"),
    ("writer/exits", "trace.tb_next"), ("writer/exits", "thread._propagate_exception"),
    ("wandb/tensorboard", "kind.add_event"),
}


def test_no_object_writes_anothers_fields():
    found = {(name, target) for name, tree in trees().items() for _, target, _ in writes(tree)}
    assert found == FOREIGN


def test_a_planted_write_is_seen():
    planted = ast.parse("class Sync:\n"
                        "    def plan(self, session, jobs):\n"
                        "        self.due = 0\n"                                 # its own
                        "        page = Page()\n        page.title = ''\n"       # just made
                        "        session.news = True\n"
                        "        self.queue.full = 1\n"
                        "        for job in jobs:\n            job.size += 1\n"
                        "        page, other = jobs\n        del session.news\n")
    assert sorted(target for _, target, _ in writes(planted)) == [
        "job.size", "self.queue.full", "session.news", "session.news"]


def test_a_name_that_is_bound_to_anothers_object_too_is_not_just_made():
    planted = ast.parse(
        "def open(pages):\n    page = Page()\n    if pages:\n        page = pages[0]\n    page.title = ''\n")
    assert [target for _, target, _ in writes(planted)] == ["page.title"]
