"""A sync over a real sshd, at work in a thread, and what it made of a root."""

import threading

from pairs import LOG, tree

from runicorn.mirror.sync import Sync
from runicorn.news import Bell
from runicorn.ssh import remote


def mirror_of(server, root, home, port=None, **options):
    """Return a Sync of `root` over `server`, perhaps through a line at `port`."""
    server.trusted_in(home)
    if port:
        key = " ".join(server.host_key.read_text().split()[:2])
        with open(home / "known_hosts", "a") as known:
            known.write(f"[127.0.0.1]:{port} {key}\n")
    connection = {
        **server.connection(),
        "name": "gpu",
        "port": port or server.port,
        "remote_root": str(root),
        "mode": "auto",
        "interval": 1,
        "manifest": True,
        "small_only": True,
        "large": False,
        "window": None,
        "small_limit": 1 << 20,
        **options,
    }
    return Sync(connection, home / "cache" / "gpu", lambda: remote.connect(connection, home=home), Bell(),
                LOG)


class Running:
    """A Sync in its thread, watched, until the block ends."""

    def __init__(self, one):
        self.one = one
        self.thread = threading.Thread(target=one.run)

    def __enter__(self):
        self.one.bell.look({"runs"})
        self.thread.start()
        return self.one

    def __exit__(self, *exc):
        self.one.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


def same(one, root):
    return tree(one.mirror.folder) == tree(root)
