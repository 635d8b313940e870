"""Whose a loopback connection is, where Windows tells: decided on tables as it gives them, and what a viewer
makes of each answer."""

import os
import socket
import struct
import time

import pytest
from catalogs import make_run
from viewers import Viewer, code

from runicorn import local_disk, loopback

US, OTHER = "S-1-5-21-3623811015-3361044348-30300820-1013", "S-1-5-21-3623811015-3361044348-30300820-1014"
CLOUD = "S-1-12-1-1-2-3-4"
SYSTEM, SCANNER = "S-1-5-18", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
PEER, HERE, PEER6, HERE6 = ("127.0.0.1", 50001), ("127.0.0.1", 23300), ("::1", 50001), ("::1", 23300)
LISTENING, ESTABLISHED, FIN_WAIT, TIME_WAIT = 2, 5, 7, 11


def row(state, local, remote, pid):
    """Return a MIB_TCPROW_OWNER_PID; the upper halves of its ports hold what was there before, as
    documented."""
    return b"".join((struct.pack("<I", state), socket.inet_aton(local[0]), struct.pack(">H", local[1]),
                     b"\xde\xad", socket.inet_aton(remote[0]), struct.pack(">H", remote[1]), b"\xbe\xef",
                     struct.pack("<I", pid)))


def row6(state, local, remote, pid):
    """Return a MIB_TCP6ROW_OWNER_PID, with its scope ids."""
    return b"".join((socket.inet_pton(socket.AF_INET6, local[0]), struct.pack("<I", 0),
                     struct.pack(">H", local[1]), b"\xde\xad", socket.inet_pton(socket.AF_INET6, remote[0]),
                     struct.pack("<I", 7), struct.pack(">H", remote[1]), b"\0\0",
                     struct.pack("<II", state, pid)))


def table(*rows, count=None, rest=b"\0" * 100):
    return struct.pack("<I", len(rows) if count is None else count) + b"".join(rows) + rest


# As GetExtendedTcpTable gave them to a Python of Windows under Wine (but for process 33), each with its
# connection from the first address to the second.
RECORDED = (("127.0.0.1", 45428), ("127.0.0.1", 45181)), bytes.fromhex(
    "06000000" "050000007f000001819600007f000001bc41000000000000"
    "050000007f0000019b3600007f000001a3f9000000000000"
    "050000007f000001b07d00007f000001b174000000000000" "050000007f000001bc4100007f0000018196000000000000"
    "050000007f000001b17400007f000001b07d000020000000" "050000007f000001a3f900007f0000019b36000000000000")
RECORDED6 = (("::1", 47380), ("::1", 37661)), bytes.fromhex(
    "02000000"
    "0000000000000000000000000000000100100000b91400000000000000000000000000000000000100100000931d00000500000021000000"
    "0000000000000000000000000000000100100000931d00000000000000000000000000000000000100100000b91400000500000000000000")


@pytest.fixture
def windows(monkeypatch):
    """Make this a Windows whose tables and processes are those that are put into the dict it gives."""
    told = {"users": {}, 4: table(), 6: table(), "asked": []}
    monkeypatch.setattr(loopback, "WINDOWS", True)
    monkeypatch.setattr(loopback, "our_sid", lambda: US)
    monkeypatch.setattr(loopback, "tcp_table", lambda six: told[6 if six else 4])
    monkeypatch.setattr(loopback, "sid_of",
                        lambda pid, since: told["asked"].append((pid, since)) or told["users"].get(pid))
    return told


@pytest.mark.parametrize("recorded, pid, other, size", [(RECORDED, 32, 0, 24), (RECORDED6, 33, 0, 56)],
                         ids=["IPv4", "IPv6"])
def test_a_recorded_table_names_the_process_of_the_peers_end(recorded, pid, other, size):
    """Both ends of a connection lie in it; only one is the peer's."""
    (peer, here), told = recorded
    assert loopback.process_of(told, peer, here) == (5, pid)
    assert loopback.process_of(told, here, peer) == (5, other)
    assert loopback.process_of(told, peer, (here[0], here[1] + 1)) is None
    assert loopback.process_of(told[:4 + size // 2], peer, here) is None        # cut in a row


@pytest.mark.parametrize("peer, here, made, kind", [(PEER, HERE, row, 4), (PEER6, HERE6, row6, 6)],
                         ids=["IPv4", "IPv6"])
def test_only_the_very_end_of_the_very_connection_counts(windows, peer, here, made, kind):
    windows["users"] = {7: OTHER, 8: US}
    # our own end
    noise = [made(LISTENING, here, (here[0], 0), 7), made(ESTABLISHED, here, peer, 7),
             made(ESTABLISHED, (peer[0], peer[1] + 1), here, 7),
             made(ESTABLISHED, peer, (here[0], here[1] + 1), 7)]
    windows[kind] = table(*noise, made(ESTABLISHED, peer, here, 8), made(ESTABLISHED, peer, here, 7))
    assert loopback.peer_user(peer, here, 123.0) == US and windows["asked"] == [(8, 123.0)]
    windows[kind] = table(*noise)
    assert loopback.peer_user(peer, here, 123.0) is None
    windows[kind] = table(made(ESTABLISHED, peer, here, 8), count=0)
    assert loopback.peer_user(peer, here, 123.0) is None
    windows[kind] = table(made(ESTABLISHED, peer, here, 8), count=4_000_000_000, rest=b"")
    assert loopback.peer_user(peer, here, 123.0) == US


@pytest.mark.parametrize("state", [*range(1, 5), *range(6, 13)])
def test_an_end_that_is_not_established_has_no_owner(windows, state):
    windows["users"] = {8: US}
    windows[4] = table(row(state, PEER, HERE, 8))
    assert loopback.peer_user(PEER, HERE, 1.0) == loopback.CLOSING and not windows["asked"]


@pytest.mark.parametrize("sid, told", [
    (US, US), (OTHER, OTHER), (CLOUD, CLOUD), (None, None), (SYSTEM, None), (SCANNER, None),
    ("S-1-5-19", None), ("S-1-5-20", None), ("S-1-5-7", None)])
def test_another_person_is_somebody_a_service_is_anybody(windows, sid, told):
    windows["users"], windows[4] = {8: sid}, table(row(ESTABLISHED, PEER, HERE, 8))
    assert loopback.peer_user(PEER, HERE, 1.0) == told


def test_a_viewer_that_runs_as_a_service_knows_its_own(windows, monkeypatch):
    monkeypatch.setattr(loopback, "our_sid", lambda: SYSTEM)
    windows["users"], windows[4] = {8: SYSTEM}, table(row(ESTABLISHED, PEER, HERE, 8))
    assert loopback.peer_user(PEER, HERE, 1.0) in loopback.our_users()


def test_who_does_not_know_himself_knows_nobody(windows, monkeypatch):
    monkeypatch.setattr(loopback, "our_sid", lambda: None)
    windows[4] = table(row(ESTABLISHED, PEER, HERE, 8))
    assert loopback.our_users() == set() and loopback.peer_user(PEER, HERE, 1.0) is None


def test_a_table_that_is_refused_leaves_it_to_the_token(windows, monkeypatch):
    def refused(six):
        raise OSError(50, "GetExtendedTcpTable")
    monkeypatch.setattr(loopback, "tcp_table", refused)
    assert loopback.peer_user(PEER, HERE, 1.0) is None and not loopback.told_by_kernel()


@pytest.mark.parametrize("sid, text", [
    ("010500000000000515000000c73dfdd7e8eb57c88457ce01f5030000",
     "S-1-5-21-3623697863-3361205224-30300036-1013"),
    ("010100000000000512000000", "S-1-5-18"), ("0101000000000010" "00300000", "S-1-16-12288"),
    ("010500000000000515000000c73dfdd7e8eb57c88457ce01f5030000" "00" * 40,
     "S-1-5-21-3623697863-3361205224-30300036-1013")])
def test_a_sid_is_written_as_people_do(sid, text):
    assert loopback.sid_text(bytes.fromhex(sid)) == text


# -- what a viewer makes of it -------------------------------------------------------------------------------

@pytest.fixture
def site(home, tmp_path):
    make_run(tmp_path / "root")
    made = Viewer(home, tmp_path / "root")
    yield made
    made.stop()


@pytest.mark.parametrize("sid, plain, with_token",
                         [(US, 200, 200), (OTHER, (403, "foreign_user"), (403, "foreign_user")),
                          (SYSTEM, (401, "token"), 200), (None, (401, "token"), 200)])
def test_the_same_user_needs_no_token_and_another_gets_nothing(
        site, windows, monkeypatch, sid, plain, with_token):
    asked = []

    def told(peer, here):
        asked.append((peer, here))
        return table(row(ESTABLISHED, peer, here, 8))
    real = loopback.process_of
    monkeypatch.setattr(loopback, "process_of", lambda made, peer, here: real(told(peer, here), peer, here))
    windows["users"] = {8: sid}
    began = time.time()
    for headers, answer in ((), plain), ([("X-Runicorn-Token", site.token)], with_token):
        found = site.ask("GET", "/api/runs", headers=headers)
        assert (found[0] if answer == 200 else code(found)) == answer
    assert len(asked) == 2 and all(here == ("127.0.0.1", site.port) for _, here in asked)
    # a process that began later is another one
    assert all(began <= since <= time.time() for _, since in windows["asked"])


def test_the_time_of_a_connection_is_when_it_was_taken_not_when_it_asks(site):
    asked = []
    site.server.site.guard.peer_user = lambda peer, here, since: asked.append(since) or os.getuid()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        for _ in range(2):
            line.sendall(f"GET /api/news?timeout=0 HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
            assert line.recv(1 << 16).startswith(b"HTTP/1.1 200")
            time.sleep(0.05)
    assert len(asked) == 2 and asked[0] == asked[1]


def test_a_browser_nobody_can_tell_is_given_its_address_once_on_the_terminal(site, capsys):
    site.server.site.guard.peer_user = lambda *ends: None
    for _ in range(3):
        assert site.ask("GET", "/", headers=[("Accept", "text/html")])[0] == 401
    assert capsys.readouterr().err.count(f"open http://127.0.0.1:{site.port}/?token={site.token}") == 1


def test_the_address_that_is_printed_has_the_token_where_the_system_does_not_tell(
        home, tmp_path, monkeypatch):
    for told in (True, False):
        monkeypatch.setattr("runicorn.viewer.app.told_by_kernel", lambda told=told: told)
        made = Viewer(home, tmp_path)
        made.stop()
        assert ("token=" in made.server.address) is not told


# -- where the token lies ------------------------------------------------------------------------------------

WHERE = {"USERPROFILE": "C:\\Users\\me", "APPDATA": "\\\\server\\profiles\\me\\AppData",
         "LOCALAPPDATA": "C:\\Users\\me\\AppData\\Local"}


@pytest.mark.parametrize("folder, shared", [
    ("C:\\Users\\me\\.runicorn", False), ("c:/users/ME/x", False), ("C:\\Users\\me", False),
    ("C:\\Users\\me\\..\\you\\x", True), ("C:\\Users\\me2\\.runicorn", True), ("C:\\Users\\Public\\x", True),
    ("D:\\runicorn", True), ("C:\\ProgramData\\x", True),
    ("\\\\server\\profiles\\me\\AppData\\x", False), ("\\\\server\\share\\x", True)])
def test_what_lies_outside_a_users_own_folders_others_may_read(folder, shared):
    assert local_disk.is_shared(folder, WHERE, windows=True) is shared
    assert not local_disk.is_shared(folder, WHERE, windows=False)


def test_a_profile_that_others_may_read_is_said_at_each_start(home, tmp_path, monkeypatch, capsys):
    Viewer(home, tmp_path).stop()
    assert "outside your own folder" not in capsys.readouterr().err
    monkeypatch.setattr(local_disk, "is_shared", lambda folder: folder == home)
    Viewer(home, tmp_path).stop()
    assert f"{home} lies outside your own folder" in capsys.readouterr().err
