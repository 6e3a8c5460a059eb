"""One picture of a result: the slide, its nuclei, what was counted, and close-ups to check it."""

from wsi_suite.overview.caption import Caption
from wsi_suite.overview.sheet import draw_overview

__all__ = ["Caption", "draw_overview"]
