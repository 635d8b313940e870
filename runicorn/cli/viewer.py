"""`runicorn viewer`: put the viewer together, say where it is, open a browser where there is a desktop, serve
until Ctrl+C."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import local_disk, loopback
from runicorn.cli.arguments import port, size
from runicorn.cli.dialogue import end_as_ctrl_c_does
from runicorn.cli.sync import at_work
from runicorn.cli.terminal import unicode_fits
from runicorn.errors import BusyError, UsageError
from runicorn.layout import default_root, home_dir
from runicorn.version import VERSION

if TYPE_CHECKING:
    from typing import Any

    from runicorn.cli.parser import Parser

EXAMPLES = {"viewer": "runicorn viewer --port 23301 --connection \"GPU Server 1\""}


def add_viewer(parser: Parser) -> None:
    parser.set_defaults(run=viewer)
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on; others than loopback need the token")
    parser.add_argument("--port", type=port, default=23300,
                        help="port to listen on (default 23300; 0 takes a free one)")
    parser.add_argument("--root", action="append", metavar="FOLDER",
                        help="a local root; may be repeated (default: your experiments)")
    parser.add_argument("--connection", action="append", metavar="NAME",
                        help="synchronise this connection only; may be repeated")
    parser.add_argument("--offline", action="store_true", help="show what is here; open no connection")
    parser.add_argument("--cache-size", type=size, metavar="SIZE",
                        help="most the mirrors may take on this disk, such as 1GB")
    parser.add_argument("--no-browser", action="store_true", help="don't open a browser")
    parser.add_argument("--new-token", action="store_true",
                        help="make a new token first: browsers that know the old one are shut out")


def viewer(options):
    """Serve the pages until Ctrl+C or its like. Raises BusyError when the port is taken."""
    roots = local_roots(options.root)
    from runicorn.viewer.access import lasting_token
    from runicorn.viewer.app import banner, start
    if options.new_token:
        lasting_token(home_dir(), renew=True)
    end_as_ctrl_c_does()
    with at_work(options.offline, options.cache_size) as (bell, connections):
        only = connections_named(connections, options.connection)
        try:
            server = start(home_dir(), roots, connections, bell, host=options.host, port=options.port,
                           offline=options.offline, cache_size=options.cache_size)
        except (RuntimeError, MemoryError) as error:
            if not local_disk.is_shortage(error):
                raise
            raise BusyError("the viewer can't start: this machine is short of threads or memory "
                            f"({error})") from error
        try:
            print(banner(server.address, VERSION, unicode=unicode_fits(sys.stdout)), flush=True)
            connections.start_all(only=only)
            if not options.no_browser and has_desktop(os.environ):
                threading.Thread(target=open_browser, args=(server.address,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            print()
        finally:
            server.stop()


def local_roots(folders: list[str] | None) -> list[Any]:
    """Return [(slug, Path)] of the local roots: "local", "local2", …. Raises UsageError for one that is no
    folder."""
    for folder in folders or ():
        if not Path(folder).expanduser().is_dir():
            raise UsageError(f"the root {folder} is not a folder on this machine; a server's root belongs "
                             f"to a connection "
                             "(runicorn config ssh add)")
    paths = [Path(folder).expanduser().absolute() for folder in folders] if folders else [default_root()]
    return [("local" if n == 1 else f"local{n}", path) for n, path in enumerate(dict.fromkeys(paths), 1)]


def connections_named(connections, names):
    """Return `names`, each an existing connection, or None for all. Raises NotFoundError for an unknown
    one."""
    return [connections.row(name)["name"] for name in names] if names else None


def has_desktop(environ):
    """Whether a browser would appear before the person who typed this: a terminal, a desktop session, no SSH
    between."""
    if not sys.stdout.isatty() or environ.get("SSH_CONNECTION"):
        return False
    return loopback.HAS_DESKTOP or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_browser(url):
    import webbrowser
    try:
        webbrowser.open(url)
    except webbrowser.Error as error:
        print(f"runicorn: no browser could be opened ({error}); open {url} yourself", file=sys.stderr)
