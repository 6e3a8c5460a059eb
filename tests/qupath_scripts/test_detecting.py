"""Detect_nuclei_and_score.groovy, with stand-ins for QuPath, asks odd services and the real one."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from groovy_side import GroovyError, collection, nucleus

import wsi_suite

IMAGE = """
    def servers = "qupath.lib.images.servers."
    def size = { Class.forName(servers + "PixelCalibration").newInstance(x: 0.25d, y: 0.25d) }
    def server = Class.forName(servers + "OpenslideImageServer").newInstance(
        uRIs: [new File(slide).toURI()], width: width as int, height: height as int,
        pixelCalibration: size())
    server.originalMetadata.pixelCalibration = size()
    def imageData = new qupath.lib.images.ImageData(server: server)
    def scripting = qupath.lib.gui.scripting.QPEx
    scripting.imageData = imageData
    scripting.selected = []
    def hierarchy = imageData.hierarchy
"""
DETECT = 'run("Detect_nuclei_and_score.groovy", [allowFolder: allow])\n'


class Odd(BaseHTTPRequestHandler):
    """A service that answers as it is told: ``answers`` has bodies and states by request."""

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        self.server.asked.append((self.command, self.path, body))
        status, content = self.server.answers[f"{self.command} {self.path}"]
        text = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def odd(service_file: Path) -> Iterator[ThreadingHTTPServer]:
    """An odd service, by default one that finds a single nucleus."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        server.asked = []
        server.answers = {
            "GET /v1/health": (200, {"pid": os.getpid(), "version": wsi_suite.__version__}),
            "POST /v1/jobs": (202, {"id": "a1"}),
            "GET /v1/jobs/a1": (200, {"id": "a1", "state": "done", "nuclei": 1, "summary": {}}),
            "GET /v1/jobs/a1/nuclei": (200, "\x1e" + collection(nucleus()) + "\n"),
            "DELETE /v1/jobs/a1": (200, {}),
        }
        thread = Thread(target=server.serve_forever)
        thread.start()
        found = {"pid": os.getpid(), "host": "127.0.0.1", "port": server.server_port, "token": "t"}
        service_file.write_text(json.dumps(found))
        yield server
        server.shutdown()
        thread.join()
        service_file.unlink()


def detect(groovy: Any, *, then: str = "", allow: bool = True) -> Any:
    image = {"slide": "/slides/größer.svs", "width": 4000, "height": 3000}
    return groovy(IMAGE + DETECT + then, allow=str(allow).lower(), **image)


def test_a_request_says_all_that_the_service_needs(groovy, odd):
    steps = detect(groovy, then="imageData.historyWorkflow.steps.collect { it.parameters }")
    assert steps == [{"where": "all tissue", "nuclei": "1"}]
    [request] = [body for method, _, body in odd.asked if method == "POST"]
    assert request == {
        "slide": str(Path("/slides/größer.svs")),
        "image": {
            "server_class": "qupath.lib.images.servers.OpenslideImageServer",
            "server_args": [],
            "width": 4000,
            "height": 3000,
            "mpp": [0.25, 0.25],
            "mpp_set_by_hand": False,
        },
        **dict.fromkeys(("rois", "model", "min_confidence", "thresholds_od", "marker", "stains")),
        "whole_slide": False,
        "shape": "polygon",
    }
    assert ("DELETE", "/v1/jobs/a1", None) in odd.asked


def test_selected_annotations_go_along_without_anything_else(groovy, odd):
    code = """
        def corners = [[0, 0], [9, 0], [9, 9], [0, 9]]
        def roi = qupath.lib.roi.ROIs.createPolygonROI(
            corners*.get(0) as double[], corners*.get(1) as double[], null)
        def field = qupath.lib.objects.PathObjects.createAnnotationObject(
            roi, qupath.lib.objects.classes.PathClass.fromString("Tumor", null))
        field.name = "Field"
        field.measurementList.put("Age", 71d)
        hierarchy.addObjects([field])
        scripting.selected = [field]
    """
    image = {"slide": "/slides/a.svs", "width": 400, "height": 300, "allow": "true"}
    placed = groovy(IMAGE + code + DETECT + "hierarchy.detectionObjects.size()", **image)
    assert placed == 1
    [request] = [body for method, _, body in odd.asked if method == "POST"]
    [feature] = request["rois"]["features"]
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "Field",
        "classification": "Tumor",
    }
    assert set(feature) == {"type", "geometry", "properties"}


CASES = {
    "another version": ("GET /v1/health", (200, {"pid": os.getpid(), "version": "9.0.0"}), "9.0.0"),
    "a wrong token": ("POST /v1/jobs", (401, {"detail": "no"}), "does not accept the token"),
    "a bad model": ("POST /v1/jobs", (422, {"detail": "no model 'x'"}), "no model 'x'"),
    "no job": ("POST /v1/jobs", (202, {}), "a job without an id"),
    "a job of another place": ("POST /v1/jobs", (202, {"id": "../x"}), "a job without an id"),
    "no JSON": ("POST /v1/jobs", (202, "<html>"), "Expected a JSON object"),
    "a failed job": (
        "GET /v1/jobs/a1",
        (200, {"state": "failed", "error": "the slide is 9 x 9 px"}),
        "the slide is 9 x 9 px",
    ),
    "a failure without reason": ("GET /v1/jobs/a1", (200, {"state": "failed"}), "The job failed"),
    "nuclei that are missing": (
        "GET /v1/jobs/a1",
        (200, {"state": "done", "nuclei": 2}),
        "found 2 nuclei, but sent 1",
    ),
    "nuclei that end early": (
        "GET /v1/jobs/a1/nuclei",
        (200, collection(nucleus())[:-30]),
        "is not whole GeoJSON",
    ),
    "a job that is gone": ("GET /v1/jobs/a1/nuclei", (404, {"detail": "no job a1"}), "no job a1"),
}


@pytest.mark.parametrize(("request_line", "answer", "words"), CASES.values(), ids=CASES.keys())
def test_what_goes_wrong_is_said_and_changes_nothing(groovy, odd, request_line, answer, words):
    odd.answers[request_line] = answer
    with pytest.raises(GroovyError, match=words):
        detect(groovy)
    code = "qupath.lib.gui.scripting.QPEx.imageData.hierarchy.detectionObjects.size()"
    assert groovy(code) == 0


def test_a_cancelled_job_leaves_the_image_as_it_was(groovy, odd):
    odd.answers["GET /v1/jobs/a1"] = (200, {"state": "cancelled"})
    with pytest.raises(GroovyError, match="CancellationException"):
        detect(groovy)


def test_a_folder_is_added_only_where_it_is_allowed(groovy, odd):
    odd.answers["POST /v1/jobs"] = (403, {"detail": "not allowed"})
    with pytest.raises(GroovyError, match=r"may not read .*slides: allow it when asked"):
        detect(groovy, allow=False)
    assert not [path for _, path, _ in odd.asked if path == "/v1/roots"]
    odd.answers["POST /v1/roots"] = (200, {"folders": []})
    with pytest.raises(GroovyError, match="still refuses to read"):
        detect(groovy)
    assert ("POST", "/v1/roots", {"folder": str(Path("/slides"))}) in odd.asked


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("scripting.imageData = null", "No image is open"),
        ('imageData.server.builder.builderType = "rotated"', r"rotated, cropped .*\(rotated\)"),
        ("imageData.server.rGB = false", "not 8-bit RGB"),
        ("imageData.server.planes = 5", "a stack of 5 planes"),
        ('imageData.server.uRIs = [URI.create("https://a/b.svs")]', "not a file on this computer"),
        (
            "imageData.imageType = qupath.lib.images.ImageData.ImageType.BRIGHTFIELD_H_E",
            "so DAB cannot be measured",
        ),
    ],
)
def test_images_on_which_nuclei_would_be_wrong_are_refused(groovy, change, words):
    image = {"slide": "/a.svs", "width": 1, "height": 1, "allow": "true"}
    with pytest.raises(GroovyError, match=words):
        groovy(IMAGE + change + "\n" + DETECT, **image)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script here")
def test_the_real_service_is_started_and_asked(groovy, bench, service_file, tmp_path):
    program = tmp_path / "wsi-suite"
    command = f'"{sys.executable}" -m wsi_suite "$@" --model "{bench.model}" --device cpu'
    program.write_text(f"#!/bin/sh\nexec {command}\n")
    program.chmod(0o755)
    then = (
        """
        def first = hierarchy.detectionObjects as List
        first[0].pathClass = qupath.lib.objects.classes.PathClass.fromString("Mine", null)
        first[1].locked = true
        hierarchy.removeObjects([first[2]], true)
    """
        + DETECT
    )
    told = """
        def kept = hierarchy.detectionObjects as Set
        [found: first.size(), now: kept.size(), mine: first[0] in kept && first[1] in kept,
         model: imageData.historyWorkflow.steps[0].parameters.model]
    """
    remember = """
        PathPrefs.createPersistentPreference("wsiSuiteProgram", "").set(program)
    """
    image = {"slide": str(bench.slide), "width": 600, "height": 560, "allow": "true"}
    try:
        answer = groovy(IMAGE + remember + DETECT + then + told, program=str(program), **image)
    finally:
        if service_file.exists():
            os.kill(json.loads(service_file.read_text())["pid"], signal.SIGTERM)
    assert answer["found"] > 100
    assert answer["mine"]
    assert answer["model"] == "tiny"
    # Of the three, two stayed; nuclei as near to them as 3.5 um are not put in again.
    assert answer["found"] - 30 < answer["now"] < answer["found"]
