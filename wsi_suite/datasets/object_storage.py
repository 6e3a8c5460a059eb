"""Objects on storage such as S3, through fsspec: read, listed and written one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_suite.errors import ConfigError, DataError, WsiSuiteError
from wsi_suite.files import hash_file

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}")
_AT_ONCE = 512  # objects that are asked for together


def is_url(place: str) -> bool:
    """Return whether a text is a URL, and no folder."""
    return _URL.match(place) is not None


def connect(url: str) -> ObjectStorage:
    """Return the folder of objects of a URL; nothing is asked of the storage yet.

    Raises
    ------
    ConfigError
        It is no URL of object storage, or its package is not installed.
    """
    match = _URL.match(url)
    assert match is not None
    if match[1] == "file" or not url.startswith(f"{match[1]}://"):
        raise ConfigError(f"{url}: expected a folder, or a URL as s3://bucket/path")
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(url.rstrip("/"), use_listings_cache=False)
    except ImportError as error:
        extra = "pip install 'wsi-suite[s3]'" if match[1] == "s3" else f"install it ({error})"
        raise ConfigError(f"{url}: needs a package for {match[1]}://; {extra}") from None
    except ValueError as error:
        raise ConfigError(f"{url}: cannot be read ({error}); expected s3://bucket/path") from None
    if match[1] in ("http", "https"):
        raise ConfigError(f"{url}: a web server lists no objects; expected s3://bucket/path")
    return ObjectStorage(url.rstrip("/"), system, root.rstrip("/"))


@dataclass(frozen=True)
class ObjectStorage:
    """A folder of objects.

    Attributes
    ----------
    url
        As the user gave it.
    system
        The file system of fsspec.
    root
        The path of the folder in it.
    """

    url: str
    system: Any
    root: str

    def path(self, *parts: str) -> str:
        """Return the path of an object in the file system."""
        return "/".join((self.root, *parts))

    def read(self, *parts: str) -> bytes | None:
        """Return the content of an object; ``None`` without one."""
        with _told(self.url):
            try:
                content: bytes = self.system.cat_file(self.path(*parts))
            except FileNotFoundError:
                return None
        return content

    def names(self, folder: str) -> set[str]:
        """Return the names of all objects in a folder."""
        with _told(self.url):
            found: list[str] = self.system.find(self.path(folder))
        return {path.rpartition("/")[2] for path in found}

    def create(self, content: bytes, *parts: str) -> bool:
        """Write an object unless there is one; return whether it was written."""
        with _told(self.url):
            try:
                self.system.pipe_file(self.path(*parts), content, mode="create")
            except FileExistsError:
                return False
        return True

    def get(self, files: Mapping[str, Path]) -> None:
        """Fetch objects named by their SHA-256, and check it.

        Raises
        ------
        DataError
            One is missing or damaged.
        """
        names = sorted(files)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            with _told(self.url, missing="an object is missing"):
                self.system.get([self.path(name) for name in some], [str(files[n]) for n in some])
            for name in some:
                if hash_file(files[name]) != name.rpartition("/")[2].partition(".")[0]:
                    raise DataError(f"{self.url}/{name}: damaged; restore it from a backup")

    def put(self, files: Mapping[str, Path]) -> None:
        """Write objects from files."""
        names = sorted(files)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            with _told(self.url):
                self.system.put([str(files[n]) for n in some], [self.path(name) for name in some])


@contextmanager
def _told(url: str, *, missing: str = "no such bucket or object") -> Iterator[None]:
    """Turn errors of a storage's client into one line."""
    try:
        yield
    except (WsiSuiteError, FileExistsError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"{url}: {missing} ({_line(error)})") from None
    except PermissionError as error:
        raise DataError(
            f"{url}: access denied ({_line(error)}); expected credentials as the storage's own"
            " command line takes them"
        ) from None
    except Exception as error:  # each client has errors of its own
        raise DataError(
            f"{url}: cannot be reached ({type(error).__name__}: {_line(error)}); expected"
            " credentials and endpoint as the storage's own command line takes them"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
