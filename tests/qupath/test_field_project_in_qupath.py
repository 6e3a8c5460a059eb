"""Fields to annotate in a real QuPath, and back as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pushed import InQuPath

from wsi_suite.datasets.formats import ReadOptions, reader_of
from wsi_suite.datasets.labelled_image import nucleus_labels
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_messages import FoundNuclei
from wsi_suite.runs.project_pull import pull_project
from wsi_suite.studies.field_project import NEXT_SCRIPT, _region, write_field_project
from wsi_suite.studies.field_sample import ChosenField, LabelledImage
from wsi_suite.synthetic import Truth

pytestmark = [pytest.mark.qupath, pytest.mark.slow]

CORNERS = [(100.0, 100.0), (400.0, 100.0)]
NUCLEI = FoundNuclei(
    points=tuple((x, 150.0) for x in (120.0, 160.0, 200.0, 240.0, 420.0, 460.0)),
    confidence=(0.9,) * 6,
    label=(0, 0, 0, 1, 1, 1),
    classes=("Stroma", "Epithelium"),
    origin={"_source": "wsi-suite 0.1.0", "_model": "tiny 0123", "_run": "0123"},
)

CORRECT = """
def known = hierarchy.annotationObjects
def at = { x -> known.find { it.ROI.isPoint() && it.ROI.centroidX == x } }
def field = known.find { it.name == "Field 001" }
def plane = ImagePlane.defaultPlane
def editable = at(120d).isEditable()
hierarchy.removeObjects([at(120d)], true)
at(160d).setPathClass(PathClass.fromString("Epithelium"))
at(200d).setROI(ROIs.createPointsROI(205d, 155d, plane))
at(240d).setROI(ROIs.createPointsROI([240d, 250d] as double[], [150d, 200d] as double[], plane))
hierarchy.addObjects([
    PathObjects.createAnnotationObject(ROIs.createPointsROI(150d, 250d, plane)),
    PathObjects.createAnnotationObject(ROIs.createEllipseROI(170d, 250d, 20d, 20d, plane))])
field.setPathClass(PathClass.fromString("Field: done"))
[editable: editable, locked: field.isLocked(), classes: project.pathClasses*.toString()]
"""


@pytest.fixture
def chosen(slide: tuple[Path, Truth]) -> list[ChosenField]:
    """Two fields of a slide, the second of more doubt."""
    return [
        ChosenField(
            slide[0],
            LabelledImage(
                name=f"B12/{number}.png",
                size_px=(200, 200),
                mpp=(0.25, 0.25),
                labels=nucleus_labels([], []),
                corner_px0=corner,
            ),
            np.zeros(0, np.float32),
            (900, 700),
        )
        for number, corner in enumerate(CORNERS)
    ]


def test_corrected_fields_come_back_as_pictures(
    slide: tuple[Path, Truth], qupath: InQuPath, chosen: list[ChosenField], tmp_path: Path
) -> None:
    with Project(qupath.project, create=True) as opened:
        regions = [_region(one, number) for number, one in enumerate(chosen, start=1)]
        opened.add_fields(
            opened.add(slide[0]), fields=regions, found=NUCLEI, mpp=0.25, size=(900, 700)
        )
    seen = qupath(CORRECT)
    assert (seen["editable"], seen["locked"]) == (True, True)
    assert {"Stroma", "Epithelium", "Field: to do", "Field: done"} <= set(seen["classes"])
    (done,) = pull_project(qupath.project, tmp_path / "corrected")
    counts = {"untouched": 3, "corrected": 2, "deleted": 1, "added": 3, "annotations": 4}
    assert done.counts == counts
    told: list[str] = []
    options = ReadOptions(images=slide[0].parent, scratch=tmp_path, tell=told.append)
    (image,) = reader_of("qupath")(tmp_path / "corrected", options)
    assert told == [f"{done.name}: 1 fields of class 'Field: to do' are left out"]
    labels = zip(image.labels.points.round(3).tolist(), image.labels.class_names, strict=True)
    assert sorted(labels, key=str) == sorted(
        [
            ([60, 50], "Epithelium"),
            ([105, 55], "Stroma"),
            ([140, 50], "Epithelium"),
            ([150, 100], "Epithelium"),  # added to the point that was selected
            ([50, 150], None),
            ([80, 160], None),
        ],
        key=str,
    )


def test_an_empty_project_brings_its_script(
    slide: tuple[Path, Truth], qupath: InQuPath, chosen: list[ChosenField], tmp_path: Path
) -> None:
    write_field_project(chosen, qupath.project, slides=[slide[0]])
    assert (qupath.project / "scripts" / NEXT_SCRIPT).is_file()
    qupath("""def plane = ImagePlane.defaultPlane
        hierarchy.addObject(PathObjects.createAnnotationObject(
            ROIs.createPointsROI(150d, 250d, plane), PathClass.fromString("Tumor"))); null""")
    (done,) = pull_project(qupath.project, tmp_path / "corrected")
    assert (done.counts["added"], done.counts["annotations"]) == (1, 3)
