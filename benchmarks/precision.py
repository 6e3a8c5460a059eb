"""How precisions move nuclei and scores: each beside float32, on real tiles and slides.

    python benchmarks/precision.py --data DATA [--fields 12]

A nucleus of one precision and the nearest of the other count as the same within 1 um. Pictures are
the tiles of EndoNuke that the model was not trained on, and fields of the slides with the most
tissue.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

import wsi_suite as ws
from wsi_suite.analysis.analysed import Analysed
from wsi_suite.detector.detector import bf16_is_fast
from wsi_suite.detector.int8_layers import int8_is_fast
from wsi_suite.detector.model_folder import find_model, trained_runs
from wsi_suite.geometry import Box
from wsi_suite.training.labelled import load_tiles

console = Console(highlight=False, width=120)

Picture = tuple[npt.NDArray[np.uint8], float]

_SLIDES = ("ki67-OS-2-vsi.ome.tif", "luna-1065626.svs", "CMU-1-Small-Region.svs")
_FIELD_UM = 256.0
_SAME_UM = 1.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with endonuke and slides")
    parser.add_argument("--model", default="endonuke-resnet18")
    parser.add_argument("--fields", type=int, default=12, help="of each slide")
    arguments = parser.parse_args()
    there = {"bf16": bf16_is_fast(), "int8": int8_is_fast()}
    table = Table("fields from", "precision", "in fp32", "matched", "only fp32", "only the other",
                  "classes", "H-score")  # fmt: skip
    for name, pictures in _groups(arguments.data, arguments.model, fields=arguments.fields):
        exact = [_analyse(picture, arguments.model, "fp32") for picture in pictures]
        for precision in [name for name, has in there.items() if has]:
            others = [_analyse(picture, arguments.model, precision) for picture in pictures]
            table.add_row(name, precision, *_compare(exact, others))
    console.print(table)


def _analyse(picture: Picture, model: str, precision: str) -> Analysed:
    rgb, mpp = picture
    return ws.analyse(
        rgb, mpp=mpp, model=model, settings={"detect.precision": precision}, device="cpu"
    )


def _groups(data: Path, model: str, *, fields: int) -> Iterator[tuple[str, list[Picture]]]:
    found = find_model(model)
    seen = trained_runs(found.spec.provenance)
    tiles = load_tiles(data / "endonuke", found.spec.labels)
    yield "EndoNuke, not seen", [(t.read(0.5).rgb, 0.5) for t in tiles if t.run not in seen]
    for name in _SLIDES:
        with ws.open_slide(data / "slides" / name) as slide:
            yield name, list(_fields(slide, count=fields))


def _fields(slide: ws.Slide, *, count: int) -> Iterator[Picture]:
    """Read the darkest squares of a slide: those with the most tissue."""
    raster = slide.raster(0.5)
    side = int(_FIELD_UM / raster.mpp[0])
    places = [
        Box(x, y, side, side)
        for y in range(0, raster.height - side + 1, side)
        for x in range(0, raster.width - side + 1, side)
    ]
    pictures = [np.asarray(raster.read(box), np.uint8) for box in places]
    pictures.sort(key=lambda rgb: float(rgb.mean()))
    yield from ((rgb, raster.mpp[0]) for rgb in pictures[:count])


def _compare(exact: list[Analysed], others: list[Analysed]) -> list[str]:
    matched = only = extra = moved = 0
    for one, other in zip(exact, others, strict=True):
        mpp = one.provenance.mpp[0]
        a, b = one.nuclei.detected_points, other.nuclei.detected_points
        pairs = _pairs(a, b, _SAME_UM / mpp)
        matched += len(pairs)
        only, extra = only + len(a) - len(pairs), extra + len(b) - len(pairs)
        moved += int((one.nuclei.label[pairs[:, 0]] != other.nuclei.label[pairs[:, 1]]).sum())
    share = f"{100 * 2 * matched / max(2 * matched + only + extra, 1):.2f} %"
    scores = f"{_h_score(exact):.1f}, {_h_score(others):.1f}"
    return [str(matched + only), share, str(only), str(extra), str(moved), scores]


def _pairs(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], within: float
) -> npt.NDArray[np.int_]:
    """Return pairs of points that are each other's nearest."""
    if not len(a) or not len(b):
        return np.empty((0, 2), int)
    distance, to_b = cKDTree(b).query(a)
    _, to_a = cKDTree(a).query(b)
    mutual = (to_a[to_b] == np.arange(len(a))) & (distance <= within)
    return np.column_stack([np.flatnonzero(mutual), to_b[mutual]])


def _h_score(results: list[Analysed]) -> float:
    grades = np.concatenate([result.grades for result in results])
    known = grades[grades <= 3]
    return 100 * float(known.mean()) if len(known) else float("nan")


if __name__ == "__main__":
    main()
