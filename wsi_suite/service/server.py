"""The service's life: from the warm model to the end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

import wsi_suite
from wsi_suite.analysis.worker_cache import close_all
from wsi_suite.errors import ConfigError
from wsi_suite.service.analyst import Analyst
from wsi_suite.service.app import make_app
from wsi_suite.service.discovery import Service, announced, discovery_file, only_service
from wsi_suite.service.guard import Guard, is_loopback
from wsi_suite.service.jobs import JobQueue
from wsi_suite.service.roots import Roots

if TYPE_CHECKING:
    from wsi_suite.detector.model_folder import ModelFolder

_CLOSING_SECONDS = 15.0  # a tile on a slow CPU takes some
_CONNECTIONS = 100


@dataclass(frozen=True)
class ServiceSettings:
    """How a service is run.

    Attributes
    ----------
    host, port
        Where it listens; port 0: a free one.
    roots
        Folders in which slides may be read.
    idle_minutes
        It ends after so long without requests and jobs; ``None``: never.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    model
        Model of jobs that name none: a bundled model's name, or a folder.
    """

    host: str = "127.0.0.1"
    port: int = 0
    roots: Sequence[Path] = ()
    idle_minutes: float | None = None
    device: str = "auto"
    model: str = "endonuke-resnet18"


def serve(settings: ServiceSettings, *, ready: Callable[[Service], None]) -> bool:
    """Run the service until it is told to end, or has been idle long enough.

    Parameters
    ----------
    settings
        How.
    ready
        Called once it answers.

    Returns
    -------
    bool
        Whether it was interrupted (Ctrl-C); else it was asked to end, or idle.

    Raises
    ------
    WsiSuiteError
        Model, device, folders or address cannot be used, or the user has a service already.
    """
    file = discovery_file()
    roots = Roots(settings.roots)
    with ExitStack() as stack:
        stack.enter_context(only_service(file))
        listening = stack.enter_context(_listen(settings.host, settings.port))
        analyst = _make_analyst(settings)
        stack.callback(close_all, abandon=True)
        jobs = JobQueue(analyst)
        stack.callback(jobs.close, seconds=_CLOSING_SECONDS)
        service = Service(
            pid=os.getpid(),
            host=settings.host,
            port=listening.getsockname()[1],
            token=secrets.token_urlsafe(32),
            version=wsi_suite.__version__,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        guard = Guard(
            make_app(analyst, jobs, roots, local=is_loopback(listening.getsockname()[0])),
            token=service.token,
            hosts=("localhost", socket.gethostname(), settings.host),
        )
        server = _Server(_config(guard))
        interrupted = stack.enter_context(_ended_by_signals(server))
        stack.enter_context(announced(file, service))
        stack.enter_context(_ended_when_idle(server, guard, jobs, minutes=settings.idle_minutes))
        ready(service)
        server.run(sockets=[listening])
    return interrupted.is_set()


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would have them kill the process before it has tidied up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(guard: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        guard,
        log_config=None,  # paths of slides are nobody's business
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else a header could say that the caller is on this machine
        lifespan="off",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=2,
    )


def _make_analyst(settings: ServiceSettings) -> Analyst:
    from wsi_suite.detector.detector import choose_compute
    from wsi_suite.detector.model_folder import find_model, named_models

    first = find_model(settings.model)
    name = settings.model if settings.model in named_models() else first.spec.name
    models: dict[str, ModelFolder] = {name: first}
    analyst = Analyst(models, choose_compute(settings.device), names=named_models)
    analyst.warm_up()
    return analyst


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """Take an address; requests wait from here on.

    Raises
    ------
    ConfigError
        It cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let others take the port, too
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_CONNECTIONS)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: cannot be listened at ({error.strerror or error}); "
            "give another port, or 0 for a free one"
        ) from None
    with listening:
        yield listening


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[Event]:
    """End the server on SIGTERM and Ctrl-C; yield a flag for the latter."""
    interrupted = Event()

    def end(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            interrupted.set()
        server.force_exit = server.should_exit
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ended_when_idle(
    server: uvicorn.Server, guard: Guard, jobs: JobQueue, *, minutes: float | None
) -> Iterator[None]:
    over = Event()

    def watch() -> None:
        assert minutes is not None
        while not over.wait(min(1.0, 6 * minutes)):
            if jobs.busy:
                guard.last_request = time.monotonic()  # the time is counted from its last job, too
            elif time.monotonic() - guard.last_request > 60 * minutes:
                server.should_exit = True

    if minutes is not None:
        Thread(target=watch, name="wsi-idle", daemon=True).start()
    try:
        yield
    finally:
        over.set()
