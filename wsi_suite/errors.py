"""Every error the suite raises on purpose.

::

    WsiSuiteError              exit code 1: something failed while working
    ├── OutputError            an output folder, a disk, a store
    │   ├── DiskError          the disk is full or read-only, for all outputs alike
    │   ├── LaterFormatError   it was written by a later version of the suite
    │   └── OutputConflictError  exit code 2: an output is there already, from something else
    │       └── BusyError      another process is at work in it
    ├── WorkerError            a Dask worker or the scheduler
    ├── NoAnswerError          a slide whose disk or share does not answer
    └── InputError             exit code 2: what the user gave cannot be used
        ├── ConfigError        a setting, an option, a configuration file
        ├── SlideError         a slide file
        │   ├── PixelSizeError its pixel size is missing, absurd or anisotropic
        │   └── DamageError    a place in it cannot be read; others may be
        ├── ModelError         a model folder, a backbone, a device
        ├── DataError          a training or evaluation folder
        └── RegionError        a file of regions of interest

A message is one line that names the value, what was expected and the remedy; the command line
prints it as it is and shows the traceback only with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WsiSuiteError(Exception):
    """Something failed while working; the message is one line for the user.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> try:
    ...     slide = ws.open_slide("B14_ER.svs")
    ... except ws.WsiSuiteError as error:
    ...     print(error)
    B14_ER.svs: no such file; check the path
    """

    exit_code = 1


class OutputError(WsiSuiteError):
    """An output cannot be written, or belongs to something else."""


class DiskError(OutputError):
    """The disk of the outputs is full or read-only: no other output can be written either."""


class LaterFormatError(OutputError):
    """An output is of a later format than this version of the suite reads."""


class OutputConflictError(OutputError):
    """An output exists and was made from another slide or with other settings."""

    exit_code = 2


class BusyError(OutputConflictError):
    """Another process is at work in an output."""


class WorkerError(WsiSuiteError):
    """A Dask scheduler or one of its workers cannot do the work."""


class NoAnswerError(WsiSuiteError):
    """The disk or share of a slide does not answer."""


class InputError(WsiSuiteError):
    """Input of the user cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """A setting, an option or a configuration file is wrong."""


class SlideError(InputError):
    """A slide file cannot be read as one."""


class PixelSizeError(SlideError):
    """The pixel size of a slide is missing, absurd or differs between x and y."""


class DamageError(SlideError):
    """Pixels of a place in a slide file cannot be read; those of other places may be."""


class ModelError(InputError):
    """A model folder, a backbone or a device cannot be used."""


class DataError(InputError):
    """A training or evaluation folder cannot be used."""


class RegionError(InputError):
    """A file of regions of interest cannot be used."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
