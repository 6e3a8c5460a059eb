"""Clusters that a run starts for itself: jobs of SLURM and PBS, machines over SSH, processes here.

The scheduler of jobs lives in this process, and serves no pages. Workers, scheduler and this
process know each other by certificates (TLS), by default by some that are made for the run.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.runs.cluster_file import SUBMIT, ClusterFile, read_cluster_file
from wsi_suite.runs.local_workers import SilentScheduler, close_cluster
from wsi_suite.runs.roll import Demand

if TYPE_CHECKING:
    from distributed import Adaptive, Client, Security, SpecCluster

log = logging.getLogger(__name__)

_LOOK = "2s"  # between two looks at how many workers are wanted
_LOOKS = 5  # in which a worker has to be of no use before it is ended
# Without its dashboard, too, a server of Dask tells its tasks and logs to whoever asks by HTTP.
_PAGES = "127.0.0.1:0"
_ROLES = ("scheduler", "worker", "client")


@contextmanager
def start_cluster(
    file: Path, *, demand: Demand, tell: Callable[[str], object] = log.info
) -> Iterator[Client]:
    """Start the cluster of a file, and end it after the block.

    Parameters
    ----------
    file
        YAML, as :class:`~wsi_suite.runs.cluster_file.ClusterFile`.
    demand
        Workers that the work could use; between the file's minimum and maximum they are started.
    tell
        Receives a line when workers are waited for.

    Raises
    ------
    ConfigError
        The file cannot be used, or the cluster refuses what it asks for.
    WorkerError
        No worker has joined in time.
    """
    from distributed import Client

    asked = read_cluster_file(file)
    with ExitStack() as stack:
        security = _certificates(asked, stack, file=file)
        refused: list[str] = []
        try:
            cluster = _start(asked, security, refuse=refused.append)
            stack.callback(close_cluster, cluster)
            if asked.maximum is not None:
                cluster.scale(max(1, asked.minimum))
                cluster.sync(_settle, cluster)
            if refused:
                raise WorkerError(refused[0])
        except Exception as error:
            log.debug("%s: cluster did not start", file, exc_info=error)
            raise ConfigError(f"{file}: the cluster cannot be started ({_reason(error)})") from None
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        _wait_for_one(client, asked, file=file, tell=tell)
        if asked.maximum is not None and asked.maximum > asked.minimum:
            cluster.adapt(
                Adaptive=_by_demand(demand), minimum=asked.minimum, maximum=asked.maximum,
                interval=_LOOK, wait_count=_LOOKS,
            )  # fmt: skip
        yield client


async def _settle(cluster: SpecCluster) -> None:
    """Wait until the first jobs are submitted."""
    await cluster


def _wait_for_one(
    client: Client, asked: ClusterFile, *, file: Path, tell: Callable[[str], object]
) -> None:
    if not client.nthreads():
        tell(f"{file.name}: waiting for the first worker")
    try:
        client.wait_for_workers(1, timeout=asked.wait_s)
    except TimeoutError:
        where = "the jobs' queue and logs" if asked.kind in SUBMIT else "its machines"
        raise WorkerError(
            f"{file}: no worker has joined within {asked.wait_s:g} s; look at {where}, or give a "
            "longer wait_s"
        ) from None


def _by_demand(demand: Demand) -> type[Adaptive]:
    """Return Dask's adaptive scaling, by blocks: it would count on one block for each thread."""
    from distributed import Adaptive

    class ByDemand(Adaptive):
        async def target(self) -> int:
            return demand.workers

    return ByDemand


def _start(
    asked: ClusterFile, security: Security, *, refuse: Callable[[str], object]
) -> SpecCluster:
    if asked.kind == "ssh":
        return _start_ssh(asked, security)
    if asked.kind == "local":
        return _start_local(asked, security)
    from dask_jobqueue.pbs import PBSCluster
    from dask_jobqueue.slurm import SLURMCluster

    options = dict(asked.options)
    options["scheduler_options"] = {"dashboard": False, **options.get("scheduler_options", {})}
    pages = ["--no-dashboard", "--dashboard-address", _PAGES]
    options["worker_extra_args"] = [*pages, *options.get("worker_extra_args", [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it renames is its own affair
        kind: Any = SLURMCluster if asked.kind == "slurm" else PBSCluster
        started: SpecCluster = kind(
            job_cls=_telling(kind.job_cls, refuse),
            security=security,
            scheduler_cls=SilentScheduler,
            silence_logs=logging.CRITICAL,
            **options,
        )
        return started


def _telling(job: Any, refuse: Callable[[str], object]) -> Any:  # noqa: ANN401 - untyped classes
    """Return a class of jobs that tells why one was refused, where Dask would log a traceback."""
    from distributed.deploy.spec import ProcessInterface

    class Telling(job):  # type: ignore[misc]
        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                refuse(_reason(error))
                await ProcessInterface.start(self)

    return Telling


def _start_ssh(asked: ClusterFile, security: Security) -> SpecCluster:
    from distributed import SSHCluster

    options = dict(asked.options)
    tls = {"protocol": "tls://", "security": _files_of(security)}
    pages = {"dashboard": False, "dashboard_address": _PAGES}
    options["scheduler_options"] = {"port": 0, **pages, **tls} | options.get(
        "scheduler_options", {}
    )
    options["worker_options"] = {**pages, **tls, **options.get("worker_options", {})}
    return SSHCluster(**options, security=security, silence_logs=logging.CRITICAL)


def _start_local(asked: ClusterFile, security: Security) -> SpecCluster:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=0,
        host="127.0.0.1",
        protocol="tls://",
        security=security,
        dashboard_address=None,
        worker_dashboard_address=_PAGES,
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard": False, "dashboard_address": _PAGES},
        **({"threads_per_worker": 1} | asked.options),
    )


def _certificates(asked: ClusterFile, stack: ExitStack, *, file: Path) -> Security:
    """Return the certificates of a cluster, as files; those made for it are removed at the end."""
    from distributed import Security

    if asked.tls is not None:
        ca, cert, key = asked.tls.ca_file, asked.tls.cert, asked.tls.key
        for path in (ca, cert, key):
            if not path.is_file():
                raise ConfigError(f"{file}: tls: there is no file {path}; expected a PEM file")
    else:
        made = Security.temporary()
        shared = asked.shared_folder.expanduser().resolve()
        try:
            folder = Path(tempfile.mkdtemp(prefix=".wsi-suite-tls-", dir=shared))  # ours alone
        except OSError as error:
            raise ConfigError(
                f"{file}: shared_folder {shared}: cannot be written ({error.strerror}); expected a "
                "folder that all machines see"
            ) from None
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ca, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        ca.write_text(made.tls_ca_file)
        cert.write_text(made.tls_client_cert)
        key.write_text(made.tls_client_key)
    try:
        security = Security(require_encryption=True, **_roles(ca, cert, key))
        security.get_connection_args("client")  # reads the files
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: tls: cannot be used ({_reason(error)})") from None
    return security


def _roles(ca: Path, cert: Path, key: Path) -> dict[str, str]:
    files = {"tls_ca_file": str(ca.resolve())}
    for role in _ROLES:
        files |= {f"tls_{role}_cert": str(cert.resolve()), f"tls_{role}_key": str(key.resolve())}
    return files


def _files_of(security: Security) -> dict[str, Any]:
    """Return certificates as plain values, for the command line of another machine."""
    roles = {f"tls_{role}_{part}" for role in _ROLES for part in ("cert", "key")}
    files = {name: getattr(security, name) for name in sorted({"tls_ca_file", *roles})}
    return {"require_encryption": True, **files}


def _reason(error: Exception) -> str:
    """Return an error in one line; of a command its last words."""
    text = str(error) or type(error).__name__
    _, found, said = text.partition("stderr:\n")
    return " ".join((said if found and said.strip() else text).split())[-300:]
