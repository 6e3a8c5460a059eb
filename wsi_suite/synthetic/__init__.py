"""Slides, tiles and nuclei with known truth, for the demonstration, tests and benchmarks.

The picture mimics endometrium stained for a hormone receptor with DAB and hematoxylin: glands of
columnar epithelium in loose stroma. Everything is composed as amounts of stain, so that for every
nucleus its place, outline, class and optical density are known, and with them the scores.
"""

from wsi_suite.synthetic.cells import CLASSES, ENDOMETRIUM, Mix
from wsi_suite.synthetic.render import make_tile
from wsi_suite.synthetic.slide import make_slide
from wsi_suite.synthetic.truth import Truth, read_truth, write_truth

__all__ = [
    "CLASSES",
    "ENDOMETRIUM",
    "Mix",
    "Truth",
    "make_slide",
    "make_tile",
    "read_truth",
    "write_truth",
]
