"""Picture of a result: the slide, its nuclei, the counts, and close-ups to check them."""

from wsi_suite.overview.caption import Caption
from wsi_suite.overview.sheet import draw_overview

__all__ = ["Caption", "draw_overview"]
