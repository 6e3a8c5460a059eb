"""Clusters that a run starts for itself, from a file."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import Bench, results_of

from wsi_suite.config import RunSettings
from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.resources import sample_configs_folder
from wsi_suite.runs import cluster_file, cluster_start
from wsi_suite.runs.cluster import open_cluster
from wsi_suite.runs.cluster_file import read_cluster_file
from wsi_suite.runs.roll import Demand

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name == "nt", reason="its commands are of a shell"),
]

SUBMIT = """#!/bin/sh
cp "$1" "$JOBS/$$.sh"
[ -e "$JOBS/refuse" ] && { echo "sbatch: error: invalid partition specified: night" >&2; exit 1; }
[ -e "$JOBS/queue" ] || {
  setsid sh "$JOBS/$$.sh" >"$JOBS/$$.log" 2>&1 &
  echo $! >"$JOBS/$$.pid"
}
echo "Submitted batch job $$"
"""
CANCEL = """#!/bin/sh
echo "$1" >>"$JOBS/cancelled"
[ -e "$JOBS/$1.pid" ] && kill -TERM -- "-$(cat "$JOBS/$1.pid")"
true
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which jobs leave their scripts: sbatch and qsub run them on this machine."""
    programs, folder = tmp_path / "programs", tmp_path / "jobs"
    programs.mkdir()
    folder.mkdir()
    for name, text in (
        ("sbatch", SUBMIT),
        ("qsub", SUBMIT),
        ("scancel", CANCEL),
        ("qdel", CANCEL),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(folder))
    monkeypatch.chdir(tmp_path)
    yield folder
    for pid in folder.glob("*.pid"):
        os.system(f"kill -KILL -- -{pid.read_text().strip()} 2>/dev/null")


def write(folder: Path, **values: Any) -> Path:
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def here(**options: Any) -> dict[str, Any]:
    """Return options of jobs that find their way on this machine."""
    return {
        "cores": 2,
        "memory": "4GB",
        "processes": 1,
        "scheduler_options": {"host": "127.0.0.1"},
        "worker_extra_args": ["--host", "127.0.0.1", "--no-nanny"],
    } | options


def silent(_key: str, _pixels: int) -> None:
    """Hear of no progress."""


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kind": "lsf"}, "kind = 'lsf': expected 'slurm', 'pbs', 'ssh' or 'local'"),
        ({"kind": "slurm"}, "maximum: missing; expected the number of workers at most"),
        ({"kind": "slurm", "maximum": 1, "minimum": 2}, "maximum = 1: expected minimum = 2"),
        ({"kind": "slurm", "maximun": 1}, r"unknown setting 'maximun' \(did you mean 'maximum'"),
        (
            {"kind": "slurm", "maximum": 2, "options": {"que": "a"}},
            r"unknown setting 'options.que' \(did you mean 'queue'\?\)",
        ),
        ({"kind": "ssh"}, "options.hosts: expected a list"),
        ({"kind": "ssh", "maximum": 3}, "not with kind ssh"),
        (
            {"kind": "local", "maximum": 1, "tls": {"ca_file": "a", "cert": "b", "key": "c"}},
            "tls: there is no file a",
        ),
        ({"kind": "local", "maximum": 1, "shared_folder": "none"}, "shared_folder .*none: cannot"),
        ({"kind": "slurm", "maximum": 1}, "cannot be started .*cores and memory"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    values: dict[str, Any], reason: str, jobs: Path, tmp_path: Path
) -> None:
    file = write(tmp_path, **values)
    with (
        pytest.raises(ConfigError, match=reason) as told,
        cluster_start.start_cluster(file, demand=Demand()),
    ):
        pass
    assert str(told.value).startswith(f"{file}: ")
    assert "\n" not in str(told.value)


def test_what_is_missing_on_the_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, kind="pbs", maximum=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no 'qsub' on this machine"):
        read_cluster_file(file)
    monkeypatch.setattr(cluster_file, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs dask_jobqueue; pip install 'wsi-suite\[hpc\]'"):
        read_cluster_file(file)


def test_workers_are_named_once(tmp_path: Path) -> None:
    settings = RunSettings(scheduler="tcp://there:1", cluster=tmp_path)
    with (
        pytest.raises(ConfigError, match="--scheduler: not with --cluster"),
        open_cluster(settings, device="cpu", progress=silent),
    ):
        pass


def test_a_job_that_is_refused_or_waits_is_told(jobs: Path, tmp_path: Path) -> None:
    file = write(tmp_path, kind="slurm", maximum=2, wait_s=0.5, options=here())
    (jobs / "refuse").touch()
    with (
        pytest.raises(ConfigError, match=r"cannot be started \(sbatch: error: invalid partition"),
        cluster_start.start_cluster(file, demand=Demand()),
    ):
        pass
    (jobs / "refuse").rename(jobs / "queue")
    with (
        pytest.raises(WorkerError, match=r"no worker has joined within 0.5 s; look at the jobs'"),
        cluster_start.start_cluster(file, demand=Demand()),
    ):
        pass
    assert (jobs / "cancelled").read_text().split()
    assert not list(tmp_path.glob(".wsi-suite-tls-*")), "certificates are left"


SCRIPTS = {
    "cluster_slurm.yaml": [
        "#SBATCH -p normal",
        "#SBATCH -A pathology",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=15G",
        "#SBATCH -t 04:00:00",
        f"{sys.executable} -m distributed.cli.dask_worker tls://",
        "--nthreads 8 --memory-limit 14.90GiB",
        "--no-dashboard --dashboard-address 127.0.0.1:0 --protocol tls:// --tls-ca-file",
    ],
    "cluster_pbs.yaml": [
        "#PBS -q workq",
        "#PBS -A pathology",
        "#PBS -l select=1:ncpus=8:mem=16gb",
        "#PBS -l walltime=04:00:00",
        "--no-dashboard --dashboard-address 127.0.0.1:0 --protocol tls:// --tls-ca-file",
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_samples_submit_the_jobs_that_they_describe(name: str, jobs: Path, tmp_path: Path) -> None:
    (jobs / "queue").touch()
    values = yaml.safe_load((sample_configs_folder() / name).read_text("utf-8"))
    file = write(tmp_path, **values | {"wait_s": 0.2})
    with pytest.raises(WorkerError), cluster_start.start_cluster(file, demand=Demand()):
        pass
    (script,) = jobs.glob("*.sh")
    text = script.read_text()
    for line in SCRIPTS[name]:
        assert line in text


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_jobs_give_the_same_bytes_and_follow_the_work(
    bench: Bench, jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_start, "_LOOK", "100ms")
    file = write(tmp_path, kind="slurm", minimum=1, maximum=2, options=here())
    there = bench.run_one(tmp_path / "there", f"run.cluster={file}").folder
    local = bench.run_one(tmp_path / "here").folder
    assert there is not None
    assert local is not None
    assert results_of(there) == results_of(local)
    submitted = {script.stem for script in jobs.glob("*.sh")}
    assert len(submitted) >= 2, "there was work for two"
    assert set((jobs / "cancelled").read_text().split()) == submitted
    assert not list(tmp_path.glob(".wsi-suite-tls-*"))


class SshServer(threading.Thread):
    """An SSH server on this machine that lets anyone with its key in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        import asyncssh

        self.key = folder / "id"
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(self.key))
        self._allowed = folder / "allowed"
        key.write_public_key(str(self._allowed))
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0
        self.start()
        self._ready.wait(60)

    def run(self) -> None:
        import asyncssh

        async def pass_on(source: asyncio.StreamReader | None, to: Any) -> None:
            assert source is not None
            while some := await source.read(65536):
                to.write(some)

        async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
            child = await asyncio.create_subprocess_shell(
                process.command or "true",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                # To the end, before it is told: what comes later would break the connection.
                await asyncio.gather(
                    pass_on(child.stdout, process.stdout), pass_on(child.stderr, process.stderr)
                )
                process.exit(await child.wait())
            finally:
                if child.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, 9)
                    await child.wait()

        async def listen() -> None:
            self._server = await asyncssh.listen(
                "127.0.0.1", 0, server_host_keys=[self._host_key], process_factory=serve,
                authorized_client_keys=str(self._allowed), encoding=None,
            )  # fmt: skip
            self.port = self._server.sockets[0].getsockname()[1]
            self._ready.set()

        self._listening = self._loop.create_task(listen())  # kept, else Python may collect it
        self._loop.run_forever()

    def end(self) -> None:
        """Stop to listen, and end what was started."""

        async def close() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._loop.shutdown_asyncgens()

        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(10)
        self._loop.close()


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_machines_over_ssh_give_the_same_bytes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = SshServer(tmp_path)
    try:
        sample = yaml.safe_load((sample_configs_folder() / "cluster_ssh.yaml").read_text("utf-8"))
        options = sample["options"]
        options["hosts"] = ["127.0.0.1"] * 3
        options["connect_options"] |= {
            "port": server.port,
            "known_hosts": None,
            "client_keys": [str(server.key)],
        }
        options["worker_options"] = {"nthreads": 2}
        file = write(tmp_path, **sample)
        there = bench.run_one(tmp_path / "there", f"run.cluster={file}").folder
        options["connect_options"]["client_keys"] = []
        file = write(tmp_path, **sample)
        with (
            pytest.raises(ConfigError, match=r"cannot be started .*[Pp]ermission denied"),
            cluster_start.start_cluster(file, demand=Demand()),
        ):
            pass
    finally:
        server.end()
    local = bench.run_one(tmp_path / "here").folder
    assert there is not None
    assert local is not None
    assert results_of(there) == results_of(local)
