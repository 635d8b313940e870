"""Pipes, sockets, devices, folders and loops of links where a regular file belongs."""

import os
import socket


def pipe(path):
    os.mkfifo(path)


def unix_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)           # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def folder(path):
    path.mkdir()
    (path / "inside.txt").write_text("x")


def loop(path):
    path.symlink_to(path.name)


def to_pipe(path):
    os.mkfifo(path.with_name(f"{path.name}.end"))
    path.symlink_to(f"{path.name}.end")


def to_zero(path):
    path.symlink_to("/dev/zero")


KINDS = [pipe, unix_socket, folder, loop, to_pipe, to_zero]


def put(path, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.unlink()
    kind(path)
