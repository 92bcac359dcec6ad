"""What can happen to a study: processes that are killed, a scheduler that is lost, a disk that is full."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes under a process (not multiprocessing's own helpers)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        return [p for p in children if p.is_running() and "spawn_main" in " ".join(p.cmdline())]
    return []


def kill_tree(pid: int) -> None:
    """Kills a process and all under it, and waits for their end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        tree = [*root.children(recursive=True), root]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        # A file that is still open for writing keeps its file system from being remounted.
        psutil.wait_procs(tree, timeout=10)


@contextlib.contextmanager
def dask() -> Iterator[tuple[str, subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """A scheduler and two workers on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    commands = [
        [sys.executable, "-m", "distributed.cli.dask_scheduler"],
        [sys.executable, "-m", "distributed.cli.dask_worker"],
    ]
    with tempfile.TemporaryDirectory() as scratch:
        options = {"cwd": scratch, "env": os.environ | {"OMP_NUM_THREADS": "1"}, **QUIET}
        scheduler = subprocess.Popen(
            [*commands[0], "--host", address, "--no-dashboard", "--no-jupyter"], **options
        )
        settings = "--nworkers 2 --nthreads 1 --no-dashboard --death-timeout 30".split()
        workers = subprocess.Popen([*commands[1], address, *settings], **options)
        try:
            yield address, scheduler, workers
        finally:
            kill_tree(workers.pid)
            kill_tree(scheduler.pid)
            workers.wait()
            scheduler.wait()


@contextlib.contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A small file system; yields a function that changes its mount options."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, **QUIET)
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", str(folder)], check=True, **QUIET
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, **QUIET)


def used_kib(folder: Path) -> int:
    """Room taken on a folder's file system."""
    system = os.statvfs(folder)
    return (system.f_blocks - system.f_bfree) * system.f_frsize // 1024
