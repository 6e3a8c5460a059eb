"""Scripts and libraries compile, and name nothing that QuPath 0.4 to 0.7 do not share."""

from __future__ import annotations

import re

import pytest

import wsi_suite
from wsi_suite.resources import qupath_scripts_folder

FILES = sorted(
    file for file in qupath_scripts_folder().iterdir() if file.suffix in (".groovy", ".gvy")
)
SCRIPTS = [file for file in FILES if file.suffix == ".groovy"]

# What changed between QuPath 0.4 and 0.7: removed, renamed, or of another package.
CHANGED = {
    r"\bgetServerURIs\b": "gone in 0.6: getURIs",
    r"\baddPathObjects?\b": "gone in 0.6: addObjects",
    r"\binsertPathObjects?\b": "quadratic: addObjects",
    r"\b(put|get)Measurement(Value)?\(": "gone in 0.6: put, get",
    r"^import .*\bDialogs$": "moved in 0.5: scripts have it without an import",
    r"\bPathClassFactory\b": "gone in 0.6: PathClass",
    r"\bshowParameterDialog\b": "gone in 0.5",
    r"\bDialogs\.prompt": "moved to FileChoosers in 0.5: promptForFile",
    r"\bDialogs\.(getChooser|builder)\b": "another package in 0.5",
    r"\bGuiTools\.callOnApplicationThread\b": "moved to FXUtils in 0.5",
    r"\bPaneTools\b": "GridPaneUtils since 0.5",
    r"\bsetCellIntensityClassifications\b": "cells only",
    r"\bgetUserPath\(\)": "moved in 0.5: userPathProperty",
    r"\.getMetadata\(\)": "of objects: absent in 0.4, unmodifiable in 0.5: Nuclei.mark",
    r"\bparseObjectsFromGeoJSON\b": "absent in 0.4",
}

# Looked up in the sources of QuPath 0.4.4, 0.5.1, 0.6.0 and 0.7.0.
SHARED = {
    "qupath.lib.common.ColorTools",
    "qupath.lib.common.GeneralTools",
    "qupath.lib.geom.Point2",
    "qupath.lib.images.ImageData",
    "qupath.lib.images.servers.ImageServer",
    "qupath.lib.images.servers.ImageServerBuilder",
    "qupath.lib.images.servers.PixelCalibration",
    "qupath.lib.io.GsonTools",
    "qupath.lib.measurements.MeasurementList",
    "qupath.lib.measurements.MeasurementListFactory",
    "qupath.lib.objects.PathObject",
    "qupath.lib.objects.PathObjects",
    "qupath.lib.objects.TMACoreObject",
    "qupath.lib.objects.classes.PathClass",
    "qupath.lib.objects.classes.PathClassTools",
    "qupath.lib.objects.hierarchy.PathObjectHierarchy",
    "qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep",
    "qupath.lib.projects.Project",
    "qupath.lib.regions.ImagePlane",
    "qupath.lib.roi.PolygonROI",
    "qupath.lib.roi.ROIs",
    "qupath.lib.roi.interfaces.ROI",
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_compiles(groovy, file):
    assert groovy("compiles(new File(path))", path=str(file)) is True


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_uses_what_all_versions_share(file):
    text = file.read_text("utf-8")
    found = {
        pattern: why for pattern, why in CHANGED.items() if re.search(pattern, text, re.MULTILINE)
    }
    assert not found
    imported = set(re.findall(r"^import (qupath\.\S+)", text, re.MULTILINE))
    assert imported <= SHARED, "look it up in the sources of all versions first"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_begins_by_saying_what_it_does(file):
    assert file.read_text("utf-8").startswith("/*\n * ")


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_it_tells_for_which_versions_it_is(file):
    first = file.read_text("utf-8").splitlines()[1]
    assert re.search(r"For QuPath 0\.[45] - 0\.7\.$", first)


def test_the_service_is_that_of_this_version(groovy):
    assert wsi_suite.__version__.startswith(groovy("Service.VERSION"))
