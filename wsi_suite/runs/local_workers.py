"""Workers on this machine that only this process can reach.

Dask's own local cluster listens on TCP without asking who calls: whoever has an account on the
machine could send it code, to be run as our user. One worker therefore lives inside the process and
listens nowhere. Several have processes of their own, and speak TLS with a certificate that is made
for this run and never leaves it. Dask's web servers, which know no passwords, are not started.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.config
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, Worker

log = logging.getLogger(__name__)

_WITHOUT_STATISTICS = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
}
"""Settings of Dask that spare a twentieth of a core.

By default it samples each thread's stack every 10 ms, for pages that are not served here, and looks
50 times a second how late its event loop is.
"""


class _WithoutWebServer:
    """Part of a Dask server whose pages are not served."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Serve nothing: a worker inside a process would listen to the whole network."""


class SilentScheduler(_WithoutWebServer, Scheduler):
    """A scheduler that serves no pages."""


class _Worker(_WithoutWebServer, Worker):
    pass


@contextmanager
def local_client(count: int, *, threads: int) -> Iterator[Client]:
    """Start workers on this machine, and end them after the block.

    Dask's own limit of memory is off, since our queues bound it. A block that falls with its
    worker comes back at once, with whatever else was on that worker: we know what to do then.

    Parameters
    ----------
    count
        Number of workers. One lives in this process, several have processes of their own.
    threads
        Blocks that each worker takes at once.
    """
    alone = count == 1
    security = _no_security() if alone else Security.temporary()
    place: dict[str, Any] = {"protocol": "inproc://" if alone else "tls://", "security": security}
    if not alone:
        place["host"] = "127.0.0.1"
    worker = {
        "cls": _Worker if alone else Nanny,
        "options": {
            **place,
            "nthreads": threads,
            "memory_limit": None,
            "silence_logs": logging.CRITICAL,
            **({} if alone else {"worker_class": _Worker}),
        },
    }
    with dask.config.set(_WITHOUT_STATISTICS):  # servers read it once, processes inherit it
        cluster = SpecCluster(
            scheduler={
                "cls": SilentScheduler,
                "options": {**place, "port": 0, "dashboard": False, "allowed_failures": 0},
            },
            workers=dict.fromkeys(range(count), worker),
            security=security,
            silence_logs=logging.CRITICAL,
        )
    try:
        with Client(cluster, security=security, set_as_default=False) as client:
            yield client
    finally:
        close_cluster(cluster)


def _no_security() -> Security:
    """Return settings for calls inside a process, whatever Dask's files say of networks."""
    return Security(
        require_encryption=False, tls_ca_file=None, tls_client_cert=None, tls_scheduler_cert=None,
        tls_worker_cert=None,
    )  # fmt: skip


def close_cluster(cluster: SpecCluster) -> None:
    """End the workers; slow ones on a busy machine die with this process."""
    logger = logging.getLogger("tornado.application")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        cluster.close()
    except TimeoutError:
        log.debug("workers are slow to end", exc_info=True)
    finally:
        logger.setLevel(level)
