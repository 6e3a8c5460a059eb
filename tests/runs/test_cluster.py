"""Schedulers of others: what is refused, and with which words."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, results_of

from wsi_suite.config import RunSettings
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.runs import cluster
from wsi_suite.runs.cluster import open_cluster
from wsi_suite.runs.folder import library_versions
from wsi_suite.runs.probing import Check, probe_workers
from wsi_suite.runs.summary_csv import summary_row
from wsi_suite.slides.identity import SlideIdentity

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(120)]


def silent(_key: str, _pixels: int) -> None:
    """Hear of no progress."""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with one worker, which lives in this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=3,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as local:
        yield local.scheduler_address


def test_scheduler_gives_the_same_bytes(bench: Bench, scheduler: str, tmp_path: Path) -> None:
    here = bench.run_one(tmp_path / "here").folder
    there = bench.run_one(tmp_path / "there", f"run.scheduler={scheduler}").folder
    assert here is not None
    assert there is not None
    assert results_of(there) == results_of(here)


def test_workers_that_live_on_read_what_is_there_now(
    bench: Bench, scheduler: str, tmp_path: Path
) -> None:
    remote = f"run.scheduler={scheduler}"
    tiled = bench.run_one(tmp_path, remote, stage="tile").folder
    assert tiled is not None
    found = bench.run_one(tmp_path, remote, stage="detect", slides=[tiled])
    assert summary_row(found)["nuclei"] > 50
    again = bench.run_one(tmp_path, remote, "tiles.ome_zarr_version=0.4", overwrite=True)
    assert summary_row(again)["nuclei"] == summary_row(found)["nuclei"]
    assert (tiled / "tiles.ome.zarr" / "OME" / "METADATA.ome.xml").exists()


def test_cluster_of_a_scheduler(scheduler: str) -> None:
    settings = RunSettings(scheduler=scheduler)
    with open_cluster(settings, device="auto", progress=silent) as found:
        assert (found.threads, found.window, found.remote) == (3, 2, True)
        assert found.choose_compute("cpu", "fp32") == Compute("cpu", "fp32", 1)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "foo://there:1"])
def test_wrong_address_is_refused_soon(address: str) -> None:
    settings = RunSettings(scheduler=address)
    start = time.monotonic()
    with (
        pytest.raises(ConfigError, match=f"--scheduler {address}: no Dask scheduler answers"),
        open_cluster(settings, device="cpu", progress=silent, connect_s=1),
    ):
        pass
    assert time.monotonic() - start < 8


def test_scheduler_without_workers_is_refused() -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=0,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as local,
        pytest.raises(ConfigError, match="it has no workers"),
        open_cluster(RunSettings(scheduler=local.scheduler_address), device="cpu", progress=silent),
    ):
        pass


@pytest.fixture
def check(bench: Bench, tmp_path: Path) -> Check:
    """What workers are asked before a run, so that they can do it."""
    (tmp_path / "run.json").touch()
    model = find_model(bench.model)
    return Check(
        run=uuid.uuid4().hex,
        slide=bench.slide,
        identity=SlideIdentity.of(bench.slide),
        folder=tmp_path,
        model=model.path,
        model_hash=model.hash,
        compute=Compute("cpu", "fp32", 1),
        versions=tuple(library_versions().items()),
    )


@pytest.fixture(scope="module")
def remote(scheduler: str) -> Iterator[cluster.Cluster]:
    with open_cluster(RunSettings(scheduler=scheduler), device="cpu", progress=silent) as found:
        yield found


def test_able_workers_pass(remote: cluster.Cluster, check: Check) -> None:
    assert probe_workers(remote.client, check) == {}
    assert probe_workers(remote.client, replace(check, slide=None)) == {}


def test_worker_that_cannot_do_it_is_named_with_the_reason(
    remote: cluster.Cluster, check: Check, tmp_path: Path
) -> None:
    copy = tmp_path / "other.tif"
    copy.write_bytes(b"another slide")
    changes: dict[str, dict[str, Any]] = {
        "cannot be read": {"slide": tmp_path / "none.tif"},
        "has another file at": {"slide": copy},
        "does not see": {"folder": tmp_path / "none"},
        "has another model at": {"model_hash": "0" * 64},
        "has torch .*, the machine of the command 1.0": {"versions": (("torch", "1.0"),)},
        "device 'tpu' is not on this machine": {"compute": Compute("tpu", "fp32", 1)},
    }
    for reason, change in changes.items():
        with pytest.raises(WorkerError, match=rf"worker tcp://127.*{reason}"):
            probe_workers(remote.client, replace(check, **change))


def test_local_cluster_bounds_the_regions_in_flight() -> None:
    with open_cluster(RunSettings(), device="cpu", progress=silent) as local:
        workers = local.client.scheduler_info(n_workers=-1)["workers"]
        assert (len(workers), local.window, local.remote) == (1, 3, False)
        assert all(worker["memory_limit"] == 0 for worker in workers.values())
        assert all(address.startswith("inproc://") for address in workers)


def listening_addresses() -> list[str]:
    """Return where this process and its children listen."""
    import psutil

    me = psutil.Process()
    return [
        connection.laddr.ip
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_one_worker_listens_nowhere() -> None:
    before = sorted(listening_addresses())
    with open_cluster(RunSettings(), device="cpu", progress=silent):
        assert sorted(listening_addresses()) == before


def test_workers_take_no_statistics_for_pages_that_are_not_served() -> None:
    def callbacks(dask_worker: Any) -> list[str]:
        return list(dask_worker.periodic_callbacks)

    with open_cluster(RunSettings(workers=1), progress=silent, device="cpu") as opened:
        for names in opened.client.run(callbacks).values():
            assert "heartbeat" in names
            assert not [name for name in names if "profile" in name]


def test_several_workers_answer_only_who_has_their_certificate(tmp_path: Path) -> None:
    from distributed import Client, Security

    with open_cluster(RunSettings(workers=2), device="cpu", progress=silent) as local:
        assert local.client.submit(abs, -3, pure=False).result() == 3
        workers = local.client.scheduler_info(n_workers=-1)["workers"]
        nannies = [worker["nanny"] for worker in workers.values()]
        places = [local.client.scheduler.address, *workers, *nannies]
        assert len(places) == 5
        assert all(place.startswith("tls://127.0.0.1:") for place in places)
        assert set(listening_addresses()) == {"127.0.0.1"}
        for place in places:
            host, port = place.removeprefix("tls://").split(":")
            for context in (None, stranger(tmp_path)):
                assert not answers(host, int(port), context)
        with pytest.raises(OSError, match=r"[Tt]imed out|SSL|certificate"):
            Client(places[0], security=Security.temporary(), timeout=1, set_as_default=False)


def stranger(folder: Path) -> ssl.SSLContext:
    """Return a caller that believes every certificate, and has one of its own."""
    from distributed import Security

    security = Security.temporary()
    (folder / "cert.pem").write_text(security.tls_client_cert)
    (folder / "key.pem").write_text(security.tls_client_key)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def answers(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    """Return whether a Dask server sends anything to a caller, plain or over TLS."""
    with socket.create_connection((host, port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain) if context else plain as connection:
                connection.sendall(struct.pack("<QQ", 1, 0))
                return connection.recv(1) != b""
        except OSError:  # of which ssl.SSLError is one
            return False


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """The files of a cluster with TLS."""
    from distributed import Security

    security = Security.temporary()
    texts = {
        "tls_ca_file": security.tls_ca_file,
        "tls_cert": security.tls_client_cert,
        "tls_key": security.tls_client_key,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in texts}


def test_a_scheduler_with_tls_is_reached_with_the_files_that_settings_name(
    certificates: dict[str, Path],
) -> None:
    import dask
    from distributed import LocalCluster, Security

    ca, cert, key = map(str, certificates.values())
    security = Security(
        require_encryption=True, tls_ca_file=ca, tls_scheduler_cert=cert, tls_scheduler_key=key,
        tls_worker_cert=cert, tls_worker_key=key, tls_client_cert=cert, tls_client_key=key,
    )  # fmt: skip
    with LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tls",
        host="127.0.0.1",
        security=security,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as there:
        address = there.scheduler_address
        ours = RunSettings(scheduler=address, **certificates)
        with open_cluster(ours, device="cpu", progress=silent) as found:
            assert found.client.submit(abs, -3, pure=False).result() == 3
        tls = "distributed.comm.tls"
        theirs = {f"{tls}.ca-file": ca, f"{tls}.client.cert": cert, f"{tls}.client.key": key}
        with (
            dask.config.set(theirs),
            open_cluster(RunSettings(scheduler=address), device="cpu", progress=silent) as found,
        ):
            assert found.client.submit(abs, -4, pure=False).result() == 4


def test_certificates_that_are_missing_or_none_are_told(
    certificates: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no certificate")
    for change, reason in (
        (None, "wants a certificate; give run.tls_ca_file"),
        ({"tls_cert": tmp_path / "absent"}, "cannot be used .*absent"),
        ({"tls_ca_file": tmp_path / "text"}, "cannot be used .*text"),
    ):
        files = {} if change is None else certificates | change
        settings = RunSettings(scheduler="tls://127.0.0.1:9", **files)
        with (
            pytest.raises(ConfigError, match=rf"^--scheduler tls://127.0.0.1:9: .*{reason}"),
            open_cluster(settings, device="cpu", progress=silent),
        ):
            pass


def test_all_workers_compute_alike() -> None:
    cpu = Compute("cpu", "fp32", 1)
    assert cluster.common_compute({"tcp://a": cpu, "tcp://b": cpu}) == cpu
    with pytest.raises(WorkerError, match=r"tcp://a would compute on cpu, .*b on cuda.*--device"):
        cluster.common_compute({"tcp://a": cpu, "tcp://b": Compute("cuda", "fp16", 8)})


def test_a_worker_without_the_device_is_named(remote: cluster.Cluster) -> None:
    with pytest.raises(WorkerError, match=r"worker tcp://.*device 'tpu' is not on this machine"):
        remote.choose_compute("tpu", "auto")


def test_workers_that_are_slow_to_end_spoil_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import SpecCluster

    close = SpecCluster.close

    def slow(self: SpecCluster) -> None:
        close(self)
        raise TimeoutError

    with open_cluster(RunSettings(), device="cpu", progress=silent):
        monkeypatch.setattr(SpecCluster, "close", slow)


def report(topic: str, pixels: int) -> None:
    """Tell of pixels as a region does."""
    from distributed import get_worker

    get_worker().log_event(topic, ("slide", pixels))


def test_reports_reach_their_own_run_alone() -> None:
    heard: list[tuple[str, int]] = []
    with (
        open_cluster(RunSettings(), device="cpu", progress=silent) as one,
        open_cluster(RunSettings(), device="cpu", progress=lambda *e: heard.append(e)) as two,
    ):
        assert one.topic != two.topic
        one.client.submit(report, one.topic, 8, pure=False).result()
        two.client.submit(report, two.topic, 7, pure=False).result()
        deadline = time.monotonic() + 10
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
    assert heard == [("slide", 7)]
