"""Defaults of commands, which their help shows, too."""

DEFAULT_MODEL = "endonuke-resnet18"

MATCH_UM = 3.5
"""Largest distance of a match in an evaluation, um."""

MIN_MATCH_UM = 0.1
"""The smallest such distance that is taken, um."""

SHARES = {"train": 80.0, "val": 10.0, "test": 10.0}
"""Parts of a split, and their shares."""
