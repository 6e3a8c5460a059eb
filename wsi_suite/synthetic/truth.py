"""Truth of a synthetic picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError
from wsi_suite.measurements import NUCLEUS_DAB, NUCLEUS_HEMATOXYLIN
from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.synthetic.cells import CLASSES
from wsi_suite.synthetic.scene import Scene


@dataclass(frozen=True)
class Truth:
    """True nuclei of a synthetic picture and the stains used to draw them.

    Attributes
    ----------
    nuclei
        Every nucleus whose centre lies in the picture, with its outline and the mean optical
        densities inside it, named as the suite's own measurements are.
    width, height
        Size of the picture, level-0 px.
    mpp
        Micrometres per level-0 pixel.
    stains
        Colours of the stains.
    """

    nuclei: Nuclei
    width: int
    height: int
    mpp: float
    stains: StainVectors

    def __len__(self) -> int:
        return len(self.nuclei)

    @property
    def dab_od(self) -> npt.NDArray[np.float32]:
        """``(N,)`` mean DAB optical density of each nucleus."""
        return self.nuclei.measurements[NUCLEUS_DAB]

    @property
    def hematoxylin_od(self) -> npt.NDArray[np.float32]:
        """``(N,)`` mean hematoxylin optical density of each nucleus."""
        return self.nuclei.measurements[NUCLEUS_HEMATOXYLIN]

    def grades(
        self, thresholds_od: tuple[float, float, float] = (0.2, 0.4, 0.6)
    ) -> npt.NDArray[np.uint8]:
        """Return ``(N,)`` intensity grades: 0 for Negative, then 1+, 2+, 3+."""
        return np.searchsorted(thresholds_od, self.dab_od, side="right").astype(np.uint8)

    def h_score(self, class_name: str | None = None) -> float:
        """Return the H-score, 100 times the mean grade, of a class or all; NaN for no nuclei."""
        grades = self.grades()
        if class_name is not None:
            grades = grades[self.nuclei.label == self.nuclei.classes.index(class_name)]
        return 100 * float(grades.mean()) if len(grades) else float("nan")


def truth_of(scene: Scene, *, width: int, height: int, mpp: float, stains: StainVectors) -> Truth:
    """Return the truth of a scene that is drawn at `mpp`."""
    cells = scene.cells
    x, y = cells.x_um / mpp, cells.y_um / mpp
    rows = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    nuclei = Nuclei(
        x=x[rows],
        y=y[rows],
        confidence=np.ones(int(rows.sum()), np.float32),
        label=cells.label[rows],
        classes=CLASSES,
        measurements={
            NUCLEUS_DAB: cells.dab_od[rows].astype(np.float32),
            NUCLEUS_HEMATOXYLIN: cells.hematoxylin_od[rows].astype(np.float32),
        },
        outline=(cells.outline_um[rows] / mpp).astype(np.float32),
    )
    return Truth(nuclei, width, height, mpp, stains)


def write_truth(truth: Truth, path: Path) -> None:
    """Write a truth as a table of nuclei, as a run writes its results.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    about = {"width": truth.width, "height": truth.height, "mpp": truth.mpp}
    stains = {"stains": asdict(truth.stains)}
    write_nuclei(truth.nuclei, path, intensity=truth.grades(), metadata=about | stains)


def read_truth(path: Path) -> Truth:
    """Read the truth that :func:`write_truth` wrote.

    Raises
    ------
    DataError
        The file is missing, unreadable, or holds no truth.
    """
    nuclei, about = read_nuclei(path)
    if "stains" not in about or NUCLEUS_DAB not in nuclei.measurements:
        raise DataError(f"{path}: not the truth of a synthetic slide; write it with write_truth")
    stains = StainVectors(**{name: tuple(value) for name, value in about["stains"].items()})
    return Truth(nuclei, about["width"], about["height"], about["mpp"], stains)
