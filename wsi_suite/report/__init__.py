"""Reports to read, print and sign: one page a slide, and one for a batch of slides."""

from wsi_suite.report.slide_page import SlideResult, write_slide_page

__all__ = ["SlideResult", "write_slide_page"]
