"""Lists a root of a server once, for the row `mirror` of scale.py: the child process whose memory is
measured.

    python benchmarks/scale_list.py CONNECTION.json HOME COUNT
"""

import json
import logging
import resource
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from runicorn import manifest
from runicorn.mirror.sync import Sync
from runicorn.news import Bell
from runicorn.ssh import remote


def main(connection, home, count):
    """Print the seconds from the login to a list with the small files of `count` runs, the processor's of
    them, MB before and at most."""
    connection, home, count = json.loads(Path(connection).read_text()), Path(home), int(count)
    one = Sync(connection, home / "cache" / "bench", lambda: remote.connect(connection, home=home), Bell(),
               logging.getLogger("scale"))
    ready = one._connect()
    one._connect = lambda: ready
    before = resource.getrusage(resource.RUSAGE_SELF)
    path, seen, began = home / "cache/bench/.index/full.json", None, time.monotonic()
    thread = threading.Thread(target=one.run)
    thread.start()
    while True:
        time.sleep(0.02)            # news of a list may come before it is in its file
        written = path.exists() and path.stat().st_mtime_ns
        if written != seen:
            seconds, used, seen = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF), written
            if is_whole(path, count):
                break
    print(json.dumps([seconds, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
                      before.ru_maxrss / 1024, used.ru_maxrss / 1024]), flush=True)
    one.stop()
    thread.join()


def is_whole(path, count):
    """Whether an index has all runs, and what their small files say (of every 17th)."""
    try:
        index = manifest.load(path)
    except manifest.ManifestError:
        return False
    return len(index) == count and all(index.entry(path)["meta"] for path in index.paths()[::17])


if __name__ == "__main__":
    main(*sys.argv[1:])
