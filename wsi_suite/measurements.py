"""Names of the measurements of a nucleus, as QuPath shows them, and the form of its outline."""

from __future__ import annotations

CONFIDENCE = "Detection probability"
"""QuPath's name of the detector's confidence."""

CLASS_PROBABILITY = "Class probability"
"""Probability that a nucleus which is there is of its class, as the detector has it."""

NUCLEUS_DAB = "Nucleus: DAB OD mean"
NUCLEUS_DAB_SPREAD = "Nucleus: DAB OD std dev"
NUCLEUS_DAB_HIGHEST = "Nucleus: DAB OD max"
NUCLEUS_HEMATOXYLIN = "Nucleus: Hematoxylin OD mean"
NUCLEUS_AREA = "Nucleus: Area µm^2"
DISC_DAB = "Disc: DAB OD mean"
DISC_HEMATOXYLIN = "Disc: Hematoxylin OD mean"

OUTLINE_RAYS = 16
"""Number of radii of an outline: ray k points to the angle ``2 pi k / 16``, x right, y down."""
