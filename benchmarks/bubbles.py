"""How many air bubbles are found, and how much else is taken for one.

Bubbles are drawn over real tissue that has none. The rules were set on the tuning half (`--half
tuning`), figures in docs/scoring.md come from the other.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from wsi_suite.slides.bubbles import find_bubbles
from wsi_suite.slides.pictures import slide_of_picture
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_tissue
from wsi_suite.synthetic.bubbles import draw_bubble, random_bubble

Rgb = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MPP = 1.0
SIDE = 1200
MOST_PX = 3 * 6_000_000  # of a picture that bubbles are drawn in
FOUND = 0.5  # share of a bubble that must be covered
TUNING_RUNS = ("321-364", "481-617", "641-646")
SLIDES = {
    "tuning": (("TCGA-CR-7395, H&E", "tcga-cr-7395-01a-01-ts1.svs", 0.25),),
    "held": (
        ("CMU-1, H&E", "CMU-1-Small-Region.svs", None),
        ("luna-1065626, IHC", "luna-1065626.svs", None),
        ("Ki-67, pale IHC", "ki67-OS-2-vsi.ome.tif", None),
    ),
}
RADII_UM = (40.0, 60.0, 100.0, 200.0, 400.0)
CONTRASTS_OD = (0.5, 0.7, 1.0, 1.4)


def pictures(data: Path, half: str) -> Iterator[tuple[str, Rgb]]:
    """Yield the kind and the pixels of each picture without bubbles, at 1 um per pixel."""
    for kind, tiles in (
        ("ER/PR tiles (EndoNuke), each mirrored", _endonuke(data, half)),
        ("H&E breast (BRCA-M2C), each mirrored", _breast(data, half)),
    ):
        for tile in tiles:
            yield kind, _beside_glass(_mirrored(tile))
    yield from (("ER/PR tiles of a run, side by side", each) for each in _mosaics(data, half))
    for kind, name, mpp in SLIDES[half]:
        with open_slide(data / "slides" / name, mpp=mpp) as slide:
            raster = slide.raster(MPP)
            rgb = raster.read(raster.box)
            yield kind, np.asarray(cv2.resize(rgb, None, fx=raster.mpp[0], fy=raster.mpp[1]))


@dataclass(frozen=True)
class Seen:
    """Tissue and bubbles of a picture, as masks, and the CPU seconds of the search."""

    tissue: Mask
    found: Mask
    seconds: float


def look(rgb: Rgb) -> Seen:
    """Look for bubbles in a picture."""
    slide = slide_of_picture(rgb, mpp=MPP)
    tissue = find_tissue(slide)
    start = time.process_time()
    bubbles = find_bubbles(slide, tissue)
    assert bubbles is not None
    return Seen(tissue.mask, bubbles.covered, time.process_time() - start)


def draw(
    rgb: Rgb, rng: np.random.Generator, *, radius_um: float, rim_od: float
) -> tuple[Rgb, Mask, bool]:
    """Return a picture with a bubble in it, what it covers, and whether all of it shows."""
    size_um = np.array([rgb.shape[1], rgb.shape[0]]) * MPP
    place = rng.uniform(0, size_um)
    bubble = random_bubble(
        rng, radius_um=radius_um, rim_od=rim_od, place_um=(float(place[0]), float(place[1]))
    )
    drawn, mask = draw_bubble(rgb, bubble, mpp=MPP)
    edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return drawn, mask, not edge


def _endonuke(data: Path, half: str) -> Iterator[Rgb]:
    for run, names in _runs(data).items():
        if (run in TUNING_RUNS) == (half == "tuning"):
            yield from (_tile(data, name) for name in names)


def _mosaics(data: Path, half: str) -> Iterator[Rgb]:
    for run, names in _runs(data).items():
        if (run in TUNING_RUNS) == (half == "tuning"):
            for seed in range(2):
                chosen = np.random.default_rng(seed).choice(names, (SIDE // 100, SIDE // 100))
                rows = [np.concatenate([_tile(data, n) for n in row], axis=1) for row in chosen]
                yield _beside_glass(np.concatenate(rows))


def _runs(data: Path) -> dict[str, list[str]]:
    runs: dict[str, list[str]] = {}
    with (data / "endonuke" / "tiles.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["id_run"], []).append(row["id"])
    return runs


def _tile(data: Path, name: str) -> Rgb:
    return _half(_read(data / "endonuke" / "images" / f"{name}.png"))


def _breast(data: Path, half: str) -> Iterator[Rgb]:
    folder = data / "brca_m2c"
    for part in ("train",) if half == "tuning" else ("val", "test"):
        for name in (folder / f"brca_ds_{part}.txt").read_text("utf-8").split():
            (path,) = (folder / "images").glob(f"{Path(name).stem}.*")
            yield _half(_read(path))


def _read(path: Path) -> Rgb:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def _half(rgb: Rgb) -> Rgb:
    return np.asarray(cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def _mirrored(tile: Rgb) -> Rgb:
    rows, columns = (np.abs((np.arange(SIDE) + n) % (2 * n) - n) for n in tile.shape[:2])
    return np.asarray(
        tile[np.minimum(rows, len(tile) - 1)][:, np.minimum(columns, tile.shape[1] - 1)]
    )


def _beside_glass(rgb: Rgb) -> Rgb:
    return np.concatenate([rgb, np.full((len(rgb), 200, 3), 245, np.uint8)], axis=1)


def false_alarms(material: list[tuple[str, Rgb]]) -> Table:
    """Return what is found in pictures without bubbles."""
    table = Table("no bubbles", "pictures", "with an alarm", "% of the tissue", "s a picture")
    for kind in dict.fromkeys(name for name, _ in material):
        looks = [look(rgb) for name, rgb in material if name == kind]
        tissue = sum(int(seen.tissue.sum()) for seen in looks)
        table.add_row(
            kind,
            str(len(looks)),
            str(sum(bool(seen.found.any()) for seen in looks)),
            f"{100 * sum(int(seen.found.sum()) for seen in looks) / tissue:.3f}",
            f"{sum(seen.seconds for seen in looks) / len(looks):.2f}",
        )
    return table


def found_bubbles(material: list[tuple[str, Rgb]], *, seed: int) -> Table:
    """Return the share of drawn bubbles that are found, and of these the area that is covered."""
    table = Table(
        "radius, um", *(f"rim {od:g} OD" for od in CONTRASTS_OD), "covered", "cut: 1 OD +"
    )
    rng = np.random.default_rng(seed)
    for radius_um in RADII_UM:
        cells, covered, cut = [], [], []
        for rim_od in CONTRASTS_OD:
            hits = []
            for _, rgb in material:
                drawn, bubble, whole = draw(rgb, rng, radius_um=radius_um, rim_od=rim_od)
                seen = look(drawn)
                truth = _small(bubble, seen.tissue) & seen.tissue
                if 2 * truth.sum() * 64 < np.count_nonzero(bubble):
                    continue  # most of it lies over glass
                share = float((seen.found & truth).sum() / truth.sum())
                if whole:
                    hits.append(share > FOUND)
                elif rim_od >= 1:
                    cut.append(share > FOUND)
                if share > FOUND and whole:
                    covered.append(share)
            cells.append(f"{sum(hits)} of {len(hits)}")
        middle = f"{100 * np.median(covered):.0f} %" if covered else "-"
        table.add_row(f"{radius_um:g}", *cells, middle, f"{sum(cut)} of {len(cut)}")
    return table


def _small(mask: Mask, like: Mask) -> Mask:
    size = like.shape[::-1]
    shrunk = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk > 0.5)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("WSI_SUITE_DATA"))
    parser.add_argument("--half", choices=("tuning", "held"), default="held")
    parser.add_argument("--every", type=int, default=1, help="only every such mirrored tile")
    parser.add_argument("--draw-on-every", type=int, default=8, help="bubbles: every such picture")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn bubbles")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or WSI_SUITE_DATA must name the folder of real tiles and slides")
    material = [
        each
        for number, each in enumerate(pictures(options.data, options.half))
        if number % options.every == 0 or not each[0].endswith("mirrored")
    ]
    console = Console(width=120)
    console.print(false_alarms(material))
    few = [each for each in material if each[1].size < MOST_PX][:: options.draw_on_every]
    console.print(found_bubbles(few, seed=options.seed))


if __name__ == "__main__":
    main()
