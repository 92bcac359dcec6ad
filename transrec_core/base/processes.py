"""Processes side by side that leave nothing behind. Nothing heavy is imported here: each of them imports
this first.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process


@contextmanager
def process_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, at once if it ends in an error or Ctrl-C, and with this process,
    however that ends.
    """
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_belong_to_parent)
    try:
        yield pool
    except BaseException:
        # Nobody waits for what is under way: checkpoints of runs are on disk.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    finally:
        pool.shutdown()  # waits until they are gone


def _belong_to_parent() -> None:
    # Ctrl-C reaches the whole group of processes; only the parent answers it, and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    # A worker whose parent was killed would otherwise wait for work for ever.
    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
