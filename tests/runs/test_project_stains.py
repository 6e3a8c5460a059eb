"""Stain vectors of a project's images, asked of a stand-in for QuPath's process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from wsi_suite.errors import InputError
from wsi_suite.qupath.project import Project
from wsi_suite.runs import project_stains as module
from wsi_suite.runs.project_stains import project_stains
from wsi_suite.staining.deconvolution import H_DAB, StainVectors

OTHER = StainVectors((0.7, 0.65, 0.3), (0.3, 0.5, 0.8), (240, 240, 240))
Kept = tuple[str, str, str]
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a project of images ``(name, type, vectors)``; one without a type was never saved."""

    def made(*images: Kept) -> Path:
        file = tmp_path / "study" / "project.qpproj"
        file.parent.mkdir()
        file.write_text('{"version": "0.6.0", "images": []}', "utf-8")
        listed = []
        for number, (name, kind, _) in enumerate(images, 1):
            data = file.parent / "data" / str(number) / "data.qpdata"
            data.parent.mkdir(parents=True)
            if kind:
                data.touch()
            listed.append({"id": str(number), "name": name, "path": None, "data": str(data)})
        kept = {str(n): {"image_type": k, "stains": s} for n, (_, k, s) in enumerate(images, 1)}
        program = f"""
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    result = {{"version": "0.6.0"}}
    if asked["do"] == "images": result = {listed!r}
    if asked["do"] == "stains": result = {kept!r}[asked["image"]]
    print(json.dumps({{"id": asked["id"], "result": result}}), flush=True)
"""
        standin = partial(Project, command=(sys.executable, "-c", program))
        monkeypatch.setattr(module, "Project", standin)
        return file

    return made


def _h_dab(name: str, vectors: StainVectors = OTHER) -> Kept:
    return name, "BRIGHTFIELD_H_DAB", vectors.to_qupath("mine")


def test_images_that_agree_give_their_vectors(make: Make) -> None:
    told: list[str] = []
    project = make(
        _h_dab("B1"), _h_dab("B2"), ("HE", "BRIGHTFIELD_H_E", H_DAB.to_qupath()), ("new", "", "")
    )
    found = project_stains(project, tell=told.append)
    assert found.stains.vectors.to_qupath() == OTHER.to_qupath()
    assert (found.stains.name, found.images) == ("mine", ("B1", "B2"))
    assert told == [
        "HE: QuPath keeps no stain vectors of it: its type is BRIGHTFIELD_H_E, not "
        "BRIGHTFIELD_H_DAB",
        "new: QuPath keeps no stain vectors of it: it was never saved there",
    ]


def test_of_images_that_differ_one_is_named(make: Make) -> None:
    project = make(_h_dab("B1"), _h_dab("B2", H_DAB), _h_dab("B2"))
    with pytest.raises(InputError, match=r"differ \(B1, B2\); name the image .* --image"):
        project_stains(project)
    assert project_stains(project, image="b1").stains.vectors.background == (240, 240, 240)
    assert project_stains(project, image="2").stains.vectors.background == (255, 255, 255)
    with pytest.raises(InputError, match="2 images are called B2; give an id: 2, 3"):
        project_stains(project, image="B2")
    with pytest.raises(InputError, match="no image 'B9'; there is B1, B2, B2"):
        project_stains(project, image="B9")


def test_a_project_without_vectors_says_why(make: Make) -> None:
    with pytest.raises(InputError, match=r"no image has vectors .*\(new: .* never saved there\)"):
        project_stains(make(("new", "", "")))


def test_a_project_without_images_says_so(make: Make) -> None:
    with pytest.raises(InputError, match="it has no images"):
        project_stains(make())
