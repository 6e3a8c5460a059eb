"""Errors of QuPath's Java in words, and image servers; for the process that runs Java."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsi_suite.errors import InputError

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry


def in_words(error: Exception) -> str:
    """Return the message of a Java or Python exception, with its cause, in one line."""
    cause = getattr(error, "getCause", lambda: None)()
    said = getattr(error, "getMessage", lambda: None)() or str(error) or type(error).__name__
    because = f" ({cause.toString()})" if cause is not None else ""
    return " ".join(f"{said}{because}".split())[:300]


def is_of_files(error: Exception) -> bool:
    """Return whether Java says that a file cannot be written, and not that memory is short."""
    return any(kind.__name__ == "java.io.IOException" for kind in type(error).__mro__)


def open_server(entry: QuPathProjectImageEntry) -> Any:  # noqa: ANN401 - of Java
    """Open an image's pixels.

    Raises
    ------
    InputError
        QuPath cannot.
    """
    import jpype

    builder = entry.java_object.getServerBuilder()
    if builder is None:
        raise InputError(
            f"{entry.image_name}: the project does not say how its pixels are read; remove the "
            "image from the project in QuPath and add the slide again"
        )
    try:
        return builder.build()
    except jpype.JException as error:
        raise InputError(
            f"{entry.image_name}: QuPath cannot open it ({in_words(error)}); if the slide was "
            "moved, open the project in QuPath, which asks for its new place"
        ) from error
