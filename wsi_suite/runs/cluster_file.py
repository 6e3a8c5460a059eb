"""The file that says which cluster to start workers on: ``--cluster FILE.yaml``."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from wsi_suite.config import Positive, Section, parse_settings
from wsi_suite.errors import ConfigError, did_you_mean
from wsi_suite.settings_files import read_values

SUBMIT = {"slurm": "sbatch", "pbs": "qsub"}
"""Command that submits a job, by the kind of cluster."""
_OURS = ("security", "shared_temp_directory", "n_workers", "asynchronous", "loop", "scheduler_cls")
_SSH = ("hosts", "connect_options", "worker_options", "scheduler_options", "remote_python")
_LOCAL = ("threads_per_worker", "memory_limit", "local_directory")


class CertificateFiles(Section):
    """PEM files that scheduler, workers and this command know each other by."""

    ca_file: Path = Field(description="certificate of the authority that signed `cert`")
    cert: Path = Field(description="certificate of all of them")
    key: Path = Field(description="its private key")


class ClusterFile(Section):
    """Where workers are started, and how many."""

    kind: Literal["slurm", "pbs", "ssh", "local"] = Field(description="slurm, pbs, ssh or local")
    minimum: int = Field(1, ge=0, description="workers that are kept from start to end")
    maximum: int | None = Field(None, ge=1, description="workers that there are at most")
    wait_s: Positive = Field(600.0, description="how long to wait for the first worker, seconds")
    shared_folder: Path = Field(
        Path(),
        description="folder that all machines see, for the certificates of a run",
    )
    tls: CertificateFiles | None = Field(
        None, description="certificates to take; by default new ones are made for each run"
    )
    options: dict[str, Any] = Field({}, description="what Dask is given to start workers with")

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        if self.kind == "ssh":
            if self.maximum is not None or "minimum" in self.model_fields_set:
                raise ValueError(
                    "minimum, maximum: not with kind ssh, which has one worker for each entry of "
                    "options.hosts after the first"
                )
            hosts = self.options.get("hosts")
            if not isinstance(hosts, list) or len(hosts) < 2:
                raise ValueError(
                    "options.hosts: expected a list of the scheduler's host and one or more hosts "
                    "of workers, as [node1, node1, node2]"
                )
        elif self.maximum is None:
            raise ValueError("maximum: missing; expected the number of workers at most")
        elif self.maximum < self.minimum:
            raise ValueError(f"maximum = {self.maximum}: expected minimum = {self.minimum} or more")
        return self


def read_cluster_file(file: Path) -> ClusterFile:
    """Read a file of ``--cluster``.

    Raises
    ------
    ConfigError
        It cannot be read, or has an unknown key; what it asks for is not installed here.
    """
    asked = parse_settings(ClusterFile, read_values(file), source=file)
    for package in {"slurm": ["dask_jobqueue"], "pbs": ["dask_jobqueue"], "ssh": ["asyncssh"]}.get(
        asked.kind, []
    ):
        if find_spec(package) is None:
            raise ConfigError(
                f"{file}: kind {asked.kind} needs {package}; pip install 'wsi-suite[hpc]'"
            )
    known = known_options(asked.kind)
    for name in asked.options:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(sorted(known))}"
            raise ConfigError(f"{file}: unknown setting 'options.{name}'{hint}")
    command = SUBMIT.get(asked.kind)
    if command is not None and shutil.which(command) is None:
        raise ConfigError(
            f"{file}: there is no '{command}' on this machine; start wsi-suite on one that submits "
            f"jobs, or start 'dask scheduler' and workers yourself and give --scheduler"
        )
    return asked


def known_options(kind: str) -> set[str]:
    """Return the names of the options that Dask takes for a kind of cluster."""
    if kind in ("ssh", "local"):
        return set(_SSH if kind == "ssh" else _LOCAL)
    from dask_jobqueue.core import Job, JobQueueCluster
    from dask_jobqueue.pbs import PBSJob
    from dask_jobqueue.slurm import SLURMJob

    jobs: Iterable[Any] = (Job, JobQueueCluster, SLURMJob if kind == "slurm" else PBSJob)
    names = {
        name
        for job in jobs
        for name, parameter in inspect.signature(job.__init__).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    return names - {*_OURS, "self", "scheduler", "name", "job_cls", "dashboard_address", "host"}
