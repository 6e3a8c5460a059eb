"""Jobs from end to end: the same as a run's results, and one line for what is refused."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
from bench import Bench
from live import TOKEN, Running, listening

import wsi_suite
from wsi_suite.analysis import survey
from wsi_suite.detector.detector import Detector
from wsi_suite.service import analyst as analyst_module
from wsi_suite.service import guard as guard_module
from wsi_suite.service.app import make_app
from wsi_suite.service.messages import MAX_ROIS

SQUARE = [[[20, 30], [420, 30], [420, 480], [20, 480], [20, 30]]]
TRIANGLE = [[[450, 100], [600, 560], [300, 540], [450, 100]]]


def drawn(*rings: Any, name: str | None = None, **properties: Any) -> dict[str, Any]:
    """Return annotations as QuPath writes them."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": ring, "plane": {"c": -1, "z": 0}},
            "properties": {"objectType": "annotation", "name": name, **properties},
        }
        for ring in rings
    ]
    return {"type": "FeatureCollection", "features": features}


def features_of(answer: httpx.Response) -> list[str]:
    """Return the text of each feature of a job's nuclei, whatever its region."""
    assert answer.headers["content-type"] == "application/geo+json-seq"
    records = answer.text.split("\x1e")
    assert records[0] == ""
    features = []
    for record in records[1:]:
        assert record.endswith("\n")
        collection = json.loads(record)
        assert collection["type"] == "FeatureCollection"
        assert collection["features"], "a region without nuclei is left out"
        features += _lines(record)
    return features


def _lines(collection: str) -> list[str]:
    """Return the features of a file of ours, which has one a line."""
    return [line.rstrip(",") for line in collection.strip().splitlines()[1:-1]]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("rois", "options", "overrides"),
    [
        (drawn(SQUARE, TRIANGLE), {}, []),
        (
            drawn(TRIANGLE, name="Tumour", classification={"name": "T", "color": [1, 2, 3]}),
            {
                "marker": "ER",
                "min_confidence": 0.12,
                "thresholds_od": [0.05, 0.1, 0.3],
                "whole_slide": True,
                "stains": {
                    "hematoxylin": [0.6, 0.7, 0.3],
                    "dab": [0.3, 0.5, 0.8],
                    "background": [240, 241, 242],
                },
            },
            [
                "score.marker=ER",
                "detect.min_confidence=0.12",
                "score.thresholds_od=[0.05,0.1,0.3]",
                "tissue.whole_slide=true",
                "stain.hematoxylin=[0.6,0.7,0.3]",
                "stain.dab=[0.3,0.5,0.8]",
                "stain.background=[240,241,242]",
            ],
        ),
        (None, {}, []),
    ],
)
def test_a_job_gives_what_a_run_gives(
    service: Running,
    bench: Bench,
    tmp_path: Path,
    *,
    rois: dict[str, Any] | None,
    options: dict[str, Any],
    overrides: list[str],
) -> None:
    file = None
    if rois is not None:
        file = tmp_path / "rois.geojson"
        file.write_text(json.dumps(rois))
    outcome = bench.run_one(tmp_path / "out", *overrides, rois=file)
    job = service.job(service.submit(bench.slide, rois=rois, **options))
    assert job["state"] == "done", job["error"]
    assert job["progress"] == 1
    assert job["summary"] == outcome.summary.as_json()
    features = features_of(service.client.get(f"/v1/jobs/{job['id']}/nuclei"))
    written = (outcome.folder / "nuclei.geojson").read_text("utf-8")
    assert len(features) == job["nuclei"] > 20
    assert sorted(features) == sorted(_lines(written))


def test_nuclei_come_region_by_region(service: Running, bench: Bench, quick: None) -> None:
    job = service.job(service.submit(bench.slide))
    text = service.client.get(f"/v1/jobs/{job['id']}/nuclei").text
    records = [json.loads(record) for record in text.split("\x1e")[1:]]
    assert len(records) > 1
    side = 256 * 2  # level-0 px of 0.25 um, read at 0.5
    for record in records:
        rings = [feature["geometry"]["coordinates"][0] for feature in record["features"]]
        centres = [(min(x for x, _ in r) // side, min(y for _, y in r) // side) for r in rings]
        assert centres
    ids = [feature["id"] for record in records for feature in record["features"]]
    assert len(set(ids)) == len(ids) == job["nuclei"]


def test_shapes_are_by_choice(service: Running, bench: Bench) -> None:
    for shape, kind in (("point", "Point"), ("ellipse", "Polygon")):
        job = service.job(service.submit(bench.slide, rois=drawn(SQUARE), shape=shape))
        features = features_of(service.client.get(f"/v1/jobs/{job['id']}/nuclei"))
        geometries = [json.loads(feature)["geometry"] for feature in features]
        assert {geometry["type"] for geometry in geometries} == {kind}
        assert all(
            geometry.get("isEllipse", False) == (shape == "ellipse") for geometry in geometries
        )


def test_nothing_is_written_anywhere(
    service: Running, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(bench.slide, tmp_path / "B12.tif")
    service.roots.add(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert service.job(service.submit(tmp_path / "B12.tif"))["state"] == "done"
    assert [path.name for path in tmp_path.iterdir()] == ["B12.tif"]


def test_a_slide_is_looked_at_once_and_anew_when_it_was_replaced(
    service: Running, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = survey.tissue_of
    monkeypatch.setattr(survey, "tissue_of", lambda *given: looks.append(given) or look(*given))
    slide = shutil.copy(bench.slide, tmp_path / "B12.tif")
    service.roots.add(tmp_path)
    for _ in range(2):
        assert service.job(service.submit(slide, rois=drawn(SQUARE)))["nuclei"] > 0
    assert len(looks) == 1
    slide.write_bytes(slide.read_bytes() + b"\0")
    assert service.job(service.submit(slide, rois=drawn(SQUARE)))["nuclei"] > 0
    assert len(looks) == 2
    service.analyst.rest()
    assert service.job(service.submit(slide, rois=drawn(SQUARE)))["nuclei"] > 0
    assert len(looks) == 3


def test_requests_of_earlier_scripts_are_read(service: Running, bench: Bench) -> None:
    assert service.job(service.submit(bench.slide, min_score=None))["nuclei"] > 0
    assert service.job(service.submit(bench.slide, min_score=1.0))["nuclei"] == 0


def test_a_pixel_size_set_by_hand_counts_as_mpp(service: Running, bench: Bench) -> None:
    shown = {"server_class": "OpenslideImageServer", "width": 600, "height": 560}
    plain = service.job(service.submit(bench.slide, image={**shown, "mpp": [0.5, 0.5]}))
    assert plain["summary"]["notes"] == []
    by_hand = {**shown, "mpp": [0.5, 0.5], "mpp_set_by_hand": True}
    job = service.job(service.submit(bench.slide, image=by_hand))
    assert "pixel size of 0.5 um given by the user" in job["summary"]["notes"][0]


def test_another_frame_fails_with_both_sizes(service: Running, bench: Bench) -> None:
    shown = {"server_class": "OpenslideImageServer", "width": 560, "height": 600}
    job = service.job(service.submit(bench.slide, image=shown))
    assert job["state"] == "failed"
    assert "560 x 600 px in QuPath, but 600 x 560 px here" in job["error"]
    answer = service.client.get(f"/v1/jobs/{job['id']}/nuclei")
    assert answer.status_code == 409
    assert "the job is failed" in answer.json()["detail"]


def test_failures_are_told_and_the_service_goes_on(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    service.roots.add(tmp_path)
    (tmp_path / "broken.svs").write_bytes(b"no slide")
    (tmp_path / "empty.svs").touch()
    outside = drawn([[[9000, 9000], [9100, 9000], [9100, 9100], [9000, 9000]]])
    for slide, rois, reason in (
        (tmp_path / "broken.svs", None, "not a slide"),
        (tmp_path / "empty.svs", None, "the file is empty"),
        (bench.slide, outside, "lies outside the slide of 600 x 560 px"),
    ):
        job = service.job(service.submit(slide, rois=rois))
        assert job["state"] == "failed"
        assert reason in job["error"]
        assert "\n" not in job["error"]
    assert service.job(service.submit(bench.slide))["state"] == "done"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"model": "nonsense"}, "model 'nonsense' is not known to this service; there is: tiny"),
        ({"thresholds_od": [0.4, 0.2, 0.6]}, "rising"),
        ({"thresholds_od": [0.4, 0.6]}, "thresholds_od: "),
        ({"min_confidence": 1.5}, "min_confidence: "),
        ({"min_confidence": "0.5"}, "min_confidence: "),
        ({"marker": "CD3"}, "marker: "),
        ({"shape": "star"}, "shape: "),
        ({"extra": 1}, "extra: "),
        ({"stains": {"hematoxylin": [1, 0, 0], "dab": [1, 0, 0], "background": [255] * 3}}, ""),
        ({"image": {"server_class": "RotatedImageServer", "width": 1, "height": 1}}, "rotated"),
        ({"image": {"server_class": "OpenslideImageServer", "width": 0, "height": 1}}, "width"),
        ({"rois": {"type": "FeatureCollection", "features": []}}, "features"),
        ({"rois": drawn([[[0, 0], ["x", 1], [2, 2], [0, 0]]])}, "GeoJSON"),
        ({"rois": drawn([[[0, 0], [1, 1]]])}, "no annotation with an area"),
        ({"rois": drawn(SQUARE, classification="Ignore*")}, "'Ignore*'"),
        ({"rois": drawn(*[SQUARE] * (MAX_ROIS + 1))}, "rois.features"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    service: Running, bench: Bench, asked: dict[str, Any], reason: str
) -> None:
    answer = service.submit(bench.slide, **asked)
    assert answer.status_code == 422
    (detail,) = answer.json().values()
    assert reason in detail
    assert "\n" not in detail
    assert service.client.get("/v1/jobs").json() == []


def test_the_number_of_vertices_is_bounded(
    service: Running, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyst_module, "MAX_VERTICES", 9)
    answer = service.submit(bench.slide, rois=drawn(SQUARE, SQUARE))
    assert answer.status_code == 422
    assert "10 vertices, more than 9" in answer.json()["detail"]
    assert service.submit(bench.slide, rois=drawn(SQUARE, TRIANGLE)).status_code == 202


def test_a_missing_pixel_size_is_to_be_set_in_qupath(service: Running, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bare.tif", np.full((300, 300, 3), 200, np.uint8), tile=(128, 128))
    service.roots.add(tmp_path)
    job = service.job(service.submit(tmp_path / "bare.tif"))
    assert job["state"] == "failed"
    assert job["error"].endswith("in QuPath, set it in the Image tab")
    shown = {"server_class": "ImageJServer", "width": 300, "height": 300}
    by_hand = {**shown, "mpp": [0.5, 0.5], "mpp_set_by_hand": True}
    assert service.job(service.submit(tmp_path / "bare.tif", image=by_hand))["state"] == "done"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(service: Running, body: bytes) -> None:
    answer = service.client.post(
        "/v1/jobs", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["detail"]


def test_what_is_not_allowed_and_what_is_absent_are_answered_alike(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    there = tmp_path / "there.svs"
    there.touch()
    answers = {
        service.submit(path).content
        for path in (there, tmp_path / "absent.svs", bench.slide.parent / "absent.svs", "B12.svs")
    }
    answers.add(service.submit(Path("x" * 4000)).content)
    assert len(answers) == 1
    assert service.submit(there).status_code == 403
    assert service.client.post("/v1/roots", json={"folder": str(tmp_path)}).status_code == 200
    assert service.submit(there).status_code == 202


def test_folders_are_listed_and_added(service: Running, bench: Bench, tmp_path: Path) -> None:
    first = str(bench.slide.parent.resolve())
    assert service.client.get("/v1/roots").json() == {"folders": [first]}
    added = service.client.post("/v1/roots", json={"folder": str(tmp_path)})
    assert added.json() == {"folders": [first, str(tmp_path.resolve())]}
    for folder in (tmp_path / "absent", "/", "relative", "\0"):
        answer = service.client.post("/v1/roots", json={"folder": str(folder)})
        assert answer.status_code == 403
        assert list(answer.json()) == ["detail"]


@pytest.mark.parametrize(
    "header", ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"]
)
def test_a_proxy_adds_no_folder(service: Running, tmp_path: Path, header: str) -> None:
    before = service.roots.folders
    answer = service.client.post(
        "/v1/roots", json={"folder": str(tmp_path)}, headers={header: "127.0.0.1"}
    )
    assert answer.status_code == 403
    assert "--allow-root" in answer.json()["detail"]
    assert service.roots.folders == before


def test_a_service_for_other_machines_lets_nobody_add_a_folder(
    service: Running, tmp_path: Path
) -> None:
    app = make_app(service.analyst, service.jobs, service.roots, local=False)
    guard = guard_module.Guard(app, token=TOKEN, hosts=())
    headers = {"authorization": f"Bearer {TOKEN}"}
    with (
        listening(guard) as address,
        httpx.Client(base_url=address, headers=headers) as client,
    ):
        answer = client.post("/v1/roots", json={"folder": str(tmp_path)})
        assert answer.status_code == 403
        assert client.get("/v1/roots").status_code == 200
    assert tmp_path.resolve() not in service.roots.folders


def test_health_and_models(service: Running) -> None:
    with httpx.Client(base_url=service.client.base_url) as anybody:
        health = anybody.get("/v1/health").json()
        document = anybody.get("/openapi.json").json()
        assert anybody.get("/v1/models").status_code == 401
    assert health == {"status": "ok", "version": wsi_suite.__version__, "pid": os.getpid()}
    assert document["info"]["version"] == wsi_suite.__version__
    assert service.client.get("/v1/models").json() == [
        {
            "name": "tiny", "classes": ["Stroma", "Epithelium"], "read_mpp": 0.5,
            "min_confidence": 0.1, "default": True,
        }
    ]  # fmt: skip


def test_unknown_jobs_are_404(service: Running) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/nuclei")):
        for job_id in ("0" * 32, "..%2f..%2fetc", "%00"):
            answer = service.client.request(method, f"/v1/jobs/{job_id}{path}")
            assert answer.status_code == 404
            assert list(answer.json()) == ["detail"]


def test_a_long_body_is_refused(
    service: Running, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = " " * guard_module.MAX_BODY_BYTES
    answer = service.client.post("/v1/jobs", content=json.dumps({"slide": str(bench.slide)}) + long)
    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("longer than 32 MiB")


@pytest.mark.usefixtures("quick")
def test_cancelling_ends_the_work_before_the_next_tile(
    service: Running, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, released, tiles = Event(), Event(), []
    detect = Detector.detect

    def slowly(*given: Any, **options: Any) -> Any:
        tiles.append(given)
        if len(tiles) > 1:  # so that one is done, and told of
            began.set()
            assert released.wait(30)
        return detect(*given, **options)

    monkeypatch.setattr(Detector, "detect", slowly)
    url = f"/v1/jobs/{service.submit(bench.slide).json()['id']}"
    assert began.wait(30)
    while (running := service.client.get(url).json())["progress"] == 0:
        assert running["state"] == "running"
    assert running["progress"] < 1
    asked = time.monotonic()
    assert service.client.delete(url).json()["state"] == "cancelled"
    assert service.client.get(url).json()["state"] == "cancelled"
    assert time.monotonic() - asked < 1
    begun = len(tiles)
    released.set()
    monkeypatch.setattr(Detector, "detect", detect)
    assert service.job(service.submit(bench.slide, rois=drawn(SQUARE)))["state"] == "done"
    assert len(tiles) == begun
    assert service.client.get(f"{url}/nuclei").status_code == 409


def test_several_clients_at_once(service: Running, bench: Bench) -> None:
    def one(number: int) -> tuple[int, list[str]]:
        ring = SQUARE if number % 2 else TRIANGLE
        job = service.job(service.submit(bench.slide, rois=drawn(ring)))
        return number % 2, features_of(service.client.get(f"/v1/jobs/{job['id']}/nuclei"))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(6)))
    for kind in (0, 1):
        first, *others = [features for number, features in found if number == kind]
        assert all(features == first for features in others)
