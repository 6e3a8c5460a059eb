"""GeoJSON into a real QuPath, and back out of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qupath_rules import read_objects

from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE, Nuclei
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.qupath.labels import ADDED, UNTOUCHED, read_labels
from wsi_suite.qupath.rois import read_rois
from wsi_suite.resources import qupath_scripts_folder

pytestmark = [pytest.mark.qupath, pytest.mark.slow]

ORIGIN = {"_source": "wsi-suite 0.1.0", "_model": 'tiny "µ"', "_run": "0123456789ab"}
SHAPES = ("polygon", "ellipse", "point")

IN_QUPATH = """
import ch.qos.logback.classic.Level
import ch.qos.logback.core.read.ListAppender
import java.nio.file.Paths
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs
import qupath.lib.roi.RoiTools

def log = new ListAppender()
log.start()
org.slf4j.LoggerFactory.getLogger("ROOT").addAppender(log)
def objects = files.collectMany { PathIO.readObjects(Paths.get(it)) }
def seen = objects.collect {
    def colour = it.pathClass.color
    [id: it.ID.toString(), detection: it.isDetection(), name: it.name, locked: it.isLocked(),
     "class": it.pathClass.toString(), color: [colour >> 16 & 255, colour >> 8 & 255, colour & 255],
     measurements: it.measurements, metadata: it.metadata, area: it.ROI.getArea(),
     place: [it.ROI.centroidX, it.ROI.centroidY], shape: it.ROI.roiName]
}
def plane = ImagePlane.getDefaultPlane()
def dots = ROIs.createPointsROI([1.5, 2.5] as double[], [3, 4] as double[], plane)
def frame = RoiTools.subtract(ROIs.createRectangleROI(0, 0, 900, 500, plane),
    [ROIs.createRectangleROI(100, 100, 50, 50, plane)])
def drawn = PathObjects.createAnnotationObject(frame, PathClass.fromString("Tumor: edge"))
drawn.name = "Hot spot"
drawn.locked = true
objects += [drawn, PathObjects.createAnnotationObject(dots, PathClass.fromString("Stroma"))]
out.each { PathIO.exportObjectsAsGeoJSON(Paths.get(it), objects) }
[seen: seen, warnings: log.list.findAll { it.level.isGreaterOrEqual(Level.WARN) }*.toString()]
"""

RUN = """
import json, sys
from paquo._config import settings, to_kwargs
from paquo.jpype_backend import start_jvm
import jpype
start_jvm(finder_kwargs=to_kwargs(settings))  # paquo.java would load many of QuPath's classes
binding = jpype.JClass("groovy.lang.Binding")()
for name, value in json.loads(sys.argv[2]).items():
    binding.setVariable(name, jpype.JClass("java.util.ArrayList")(value))
value = jpype.JClass("groovy.lang.GroovyShell")(binding).evaluate(sys.argv[1])
print()
print(str(jpype.JClass("qupath.lib.io.GsonTools").getInstance().toJson(value)))
"""


def in_qupath(groovy: str, **paths: list[Path]) -> Any:
    """Return the value of Groovy that knows lists of paths, from a QuPath of its own."""
    if not os.environ.get("PAQUO_QUPATH_DIR"):
        pytest.skip("PAQUO_QUPATH_DIR is not set: QuPath is needed")
    known = json.dumps({name: [str(path) for path in listed] for name, listed in paths.items()})
    told = subprocess.run(
        [sys.executable, "-c", RUN, groovy, known],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return json.loads(told.stdout.splitlines()[-1])


def make_nuclei() -> Nuclei:
    """Return nuclei of every class, near and far, some without outline or measurement."""
    rng, count = np.random.default_rng(0), 90
    outline = rng.uniform(5, 12, (count, 16)).astype(np.float32)
    outline[::7] = np.nan
    od = rng.uniform(0, 1, count).astype(np.float32)
    od[::5] = np.nan
    return Nuclei(
        x=np.round(rng.uniform(0, 900, count) + 1000 * np.arange(count) * 2, 2),
        y=np.round(rng.uniform(0, 900, count), 2),
        confidence=rng.uniform(0, 1, count).astype(np.float32),
        label=(np.arange(count) % 3).astype(np.uint8),
        classes=("Stroma", "Tumor: edge", 'a, "b" µ'),
        measurements={"Nucleus: DAB OD mean": od},
        outline=outline,
    )


READ_BY_A_SCRIPT = """
import qupath.lib.objects.classes.PathClass

def load = new GroovyShell().evaluate(new File(folders[0], "Libraries.gvy"))
def (GeoJson) = load.call("GeoJson")
GeoJson.read(new File(files[0]).newReader("UTF-8"), files[0]) { }
PathClass.fromString("Stroma").color & 0xffffff
"""


def test_a_script_without_a_window_leaves_qupaths_classes_their_colours(tmp_path: Path) -> None:
    nuclei = make_nuclei()
    (file,) = write_geojson(
        nuclei, tmp_path / "nuclei.geojson", grades=np.ones(len(nuclei), np.uint8)
    )
    told = in_qupath(READ_BY_A_SCRIPT, files=[file], folders=[qupath_scripts_folder()])
    assert told == 0x96C896


def test_what_qupath_reads_is_what_we_wrote_and_comes_back(tmp_path: Path) -> None:
    nuclei = make_nuclei()
    grades = np.resize(np.array([0, 1, 2, 3, NOT_MEASURABLE], np.uint8), len(nuclei))
    files = []
    for number, shape in enumerate(SHAPES):
        moved = replace(nuclei, y=nuclei.y + 1000 * number)
        files += write_geojson(
            moved,
            tmp_path / f"{shape}.geojson.gz",
            grades=grades,
            shape=shape,
            radius_px0=4,
            origin=ORIGIN,
        )
    exported = [tmp_path / "all.geojson", tmp_path / "all.zip"]
    told = in_qupath(IN_QUPATH, files=files, out=exported)

    assert told["warnings"] == []
    written = {feature["id"]: feature for file in files for feature in read_objects(file)}
    assert len(told["seen"]) == len(written) == 3 * len(nuclei)
    for seen in told["seen"]:
        check_object(seen, written[seen["id"]]["properties"])
    assert {seen["shape"] for seen in told["seen"]} == {"Polygon", "Ellipse", "Points"}

    for path in exported:
        labels = read_labels(path)
        assert labels.states.tolist() == [UNTOUCHED] * len(written) + [ADDED] * 2
        np.testing.assert_array_equal(labels.grades[:-2], np.tile(grades, 3))
        assert labels.class_names[-2:] == ("Stroma", "Stroma")
        (roi,) = read_rois(path)
        assert (roi.name, roi.class_name, roi.locked) == ("Hot spot", "Tumor: edge", True)
        assert roi.area.area == 900 * 500 - 50 * 50


def check_object(seen: dict[str, Any], written: dict[str, Any]) -> None:
    assert seen["detection"]
    assert (seen.get("name"), seen["locked"]) == (None, False)
    assert seen["class"] == written["classification"]["name"]
    # For "Stroma: 1+" QuPath chooses a colour of its own for "Stroma", which that then keeps.
    if seen["class"].endswith(INTENSITIES):
        assert seen["color"] == written["classification"]["color"]
    assert seen["measurements"] == pytest.approx(written["measurements"], rel=1e-6)
    assert seen["metadata"] == written["metadata"]
    x, y, area, _ = written["metadata"]["_pushed"].split(",", 3)
    assert seen["place"] == pytest.approx([float(x), float(y)], abs=0.05)
    assert seen["area"] == pytest.approx(float(area), abs=0.5, rel=5e-4)
