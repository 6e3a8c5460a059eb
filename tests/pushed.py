"""Results as a run leaves them, without a run; and Groovy inside QuPath."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi_suite.analysis.summary import Summary, compose_summary, write_summary
from wsi_suite.config import MeasureSettings, ScoreSettings, Settings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import write_nuclei
from wsi_suite.nuclei.provenance import ComputeRecord, ModelIdentity, Provenance, RegionRecord
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.staining.deconvolution import H_DAB
from wsi_suite.synthetic import Truth

MPP = 0.25


@dataclass(frozen=True)
class Results:
    """A results folder and what is in it."""

    folder: Path
    nuclei: Nuclei
    summary: Summary


def make_results(
    folder: Path,
    *,
    slide: Path,
    truth: Truth,
    nuclei: Nuclei | None = None,
    rois: tuple[Roi, ...] | None = None,
    **provenance: Any,
) -> Results:
    """Write a results folder with a slide's true nuclei, or with others."""
    nuclei = measured(truth.nuclei) if nuclei is None else nuclei
    score, identity = ScoreSettings(), SlideIdentity.of(slide)
    described = Provenance(
        slide=slide.name,
        slide_sha256=identity.sha256,
        size_px0=(truth.width, truth.height),
        mpp=(MPP, MPP),
        read_mpp=(2 * MPP, 2 * MPP),
        model=ModelIdentity(name="tiny", hash="0123456789abcdef"),
        compute=ComputeRecord(device="cpu", precision="fp32", batch=1),
        min_confidence=0.3,
        measure=MeasureSettings(disc_radius_um=1.0),
        stain_vectors=H_DAB.to_qupath(),
        score=score,
        rois=rois and tuple(map(RegionRecord.of, rois)),
        tissue_area_mm2=1.0,
        glass_dab_od=None,
        wsi_suite="0.1.0",
    )
    metadata = described.as_json() | provenance
    folder.mkdir(parents=True)
    grades = grade_nuclei(nuclei, score.thresholds_od)
    write_nuclei(nuclei, folder / "nuclei.parquet", intensity=grades, metadata=metadata)
    summary = compose_summary(nuclei, score, provenance=described, rois=rois)
    write_summary(folder, summary)
    run = {
        "state": "done",
        "slide_path": str(slide),
        "fingerprint": {
            "slide": vars(identity),
            "settings": Settings().model_dump(mode="json"),
        },
    }
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    return Results(folder, nuclei, summary)


def measured(nuclei: Nuclei) -> Nuclei:
    """Return nuclei with outlines and with a DAB OD that gives all grades."""
    count = len(nuclei)
    od = np.linspace(0.05, 0.95, count, dtype=np.float32)
    rays = np.tile(np.linspace(9, 12, 16, dtype=np.float32), (count, 1))
    return Nuclei(
        nuclei.x,
        nuclei.y,
        np.full(count, 0.5, np.float32),
        nuclei.label,
        nuclei.classes,
        {"Nucleus: DAB OD mean": od},
        outline=rays,
    )


@dataclass(frozen=True)
class InQuPath:
    """Groovy on the image of a project, in a process of its own; what it changes is saved."""

    project: Path

    def __call__(self, groovy: str, *, name: str | None = None) -> Any:
        """Run Groovy that knows ``imageData``, ``hierarchy`` and ``ours``; return its value."""
        told = subprocess.run(
            [sys.executable, "-c", _RUN, str(self.project), _KNOWN + groovy, name or ""],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        return json.loads(told.stdout.splitlines()[-1])


_KNOWN = """
import qupath.lib.objects.*
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs
def hierarchy = imageData.hierarchy
def ours = hierarchy.detectionObjects.findAll { it.metadata["_source"] }.sort { it.ID.toString() }
"""

_RUN = """
import json, sys
from paquo.projects import QuPathProject
import jpype
project, groovy, name = sys.argv[1:]
opened = QuPathProject(project, mode="r+")
entry = next(e for e in opened.images if name in ("", e.image_name)).java_object
data = entry.readImageData()
binding = jpype.JClass("groovy.lang.Binding")()
binding.setVariable("imageData", data)
binding.setVariable("entry", entry)
binding.setVariable("project", opened.java_object)
value = jpype.JClass("groovy.lang.GroovyShell")(binding).evaluate(groovy)
entry.saveImageData(data)
opened.java_object.syncChanges()
print()
print(str(jpype.JClass("qupath.lib.io.GsonTools").getInstance().toJson(value)))
"""
