"""Location and version of QuPath, found without starting it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.errors import ConfigError

GET_QUPATH = (
    "set PAQUO_QUPATH_DIR to QuPath's folder, or get QuPath with 'paquo get_qupath --install-path "
    "DIR 0.6.0'"
)


@dataclass(frozen=True)
class Program:
    """A QuPath that is installed.

    Attributes
    ----------
    folder
        Its folder.
    version, java
        As its files tell, ``None`` if they do not.
    """

    folder: Path
    version: str | None
    java: str | None


def find_qupath() -> Program:
    """Find QuPath where paquo does.

    Raises
    ------
    ConfigError
        There is none, or not all of it.
    """
    from paquo._config import settings, to_kwargs
    from paquo.jpype_backend import find_qupath as find

    settings.reload()  # the environment may have changed since paquo was imported
    try:
        found = find(**to_kwargs(settings))
    except (ValueError, OSError) as error:
        named = os.environ.get("PAQUO_QUPATH_DIR")
        where = f" in PAQUO_QUPATH_DIR={named}" if named else ""
        raise ConfigError(f"not found{where} ({error})") from None
    jars = [path.name for path in found.app_dir.glob("qupath-core-[0-9]*.jar")]
    version = re.search(r"-(\d.*)\.jar", jars[0]) if jars else None
    release = found.runtime_dir / "release"
    told = release.read_text("utf-8") if release.is_file() else ""
    java = re.search(r'JAVA_VERSION="([^"]+)"', told)
    folder = Path(os.path.commonpath([found.app_dir, found.runtime_dir]))
    return Program(
        folder.parent if folder.name == "lib" else folder,
        version.group(1) if version else None,
        java.group(1) if java else None,
    )
