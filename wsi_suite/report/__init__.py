"""Reports to read, print and sign: one page a slide, and one for a batch of slides."""

from wsi_suite.report.batch_page import BatchSlide, write_batch_page
from wsi_suite.report.slide_page import SlideResult, write_slide_page

__all__ = ["BatchSlide", "SlideResult", "write_batch_page", "write_slide_page"]
