"""One GPU for each worker process of a cluster."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from threading import Lock

log = logging.getLogger(__name__)

_claiming = Lock()  # two blocks of a worker ask at once


def claim_gpu() -> int:
    """Return the number of the GPU that this process has for itself until it ends.

    The first process that asks for a GPU of the machine holds a lock that names it by its UUID, so
    that numbers may differ between processes (``CUDA_VISIBLE_DEVICES``); the system lets go of it
    with the process. A worker that finds all of them held shares one.
    """
    with _claiming:
        return _claim(os.getpid())


@lru_cache(maxsize=1)
def _claim(process: int) -> int:
    import torch

    count = torch.cuda.device_count()
    for gpu in range(count):
        if _hold(str(torch.cuda.get_device_properties(gpu).uuid)):
            return gpu
    log.warning("more workers than GPUs: all %d are held, one is shared", count)
    return process % count


_held: list[object] = []  # locks of this process, to keep them


def _hold(uuid: str) -> bool:
    """Return whether this process could lock a GPU."""
    from filelock import FileLock

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    file = Path(tempfile.gettempdir()) / f"wsi-suite-{user}-gpu-{uuid}.lock"
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except OSError:  # of which its Timeout is one
        return False
    _held.append(lock)
    return True
