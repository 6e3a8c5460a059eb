"""The folder of one slide's results: whose it is, what it was made with, what is done.

``run.json`` holds the fingerprint of a run: the slide's size, time and a hash of its first and last
megabyte, the model's hash and every setting that changes results. A folder of another slide is
left alone (``<stem>-<hash6>`` is used instead); the same slide with other settings is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wsi_suite.errors import OutputConflictError, OutputError, SlideError
from wsi_suite.files import whole_file

RUN_FILE = "run.json"
STORE_NAME = "tiles.ome.zarr"
RECORDS_NAME = "regions.partial"

_MEGABYTE = 2**20


@dataclass(frozen=True)
class SlideIdentity:
    """What tells a slide file from another.

    Attributes
    ----------
    name
        The file's name, without its folder.
    size
        Bytes.
    modified
        Time of the last change, whole seconds since 1970.
    sha256
        Of the first and the last megabyte (of the index file, for formats of several files).
    """

    name: str
    size: int
    modified: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> SlideIdentity:
        """Read the identity of a file.

        Raises
        ------
        SlideError
            It cannot be read.
        """
        try:
            if path.is_dir():  # OME-Zarr: its root metadata stands for it
                names = sorted(p for p in path.iterdir() if p.is_file())
                data = b"".join(p.name.encode() + p.read_bytes() for p in names)
                return cls(path.name, len(data), 0, hashlib.sha256(data).hexdigest())
            stat = path.stat()
            with path.open("rb") as file:
                digest = hashlib.sha256(file.read(_MEGABYTE))
                file.seek(max(0, stat.st_size - _MEGABYTE))
                digest.update(file.read(_MEGABYTE))
        except OSError as error:
            raise SlideError(f"{path}: cannot be read ({error.strerror or error})") from None
        return cls(path.name, stat.st_size, int(stat.st_mtime), digest.hexdigest())

    @property
    def content(self) -> tuple[int, str]:
        """What copies of a file share."""
        return self.size, self.sha256


@dataclass(frozen=True)
class Fingerprint:
    """What a run's results depend on.

    Attributes
    ----------
    slide
        The slide.
    settings
        Every setting that changes results, nested, as JSON holds them.
    """

    slide: SlideIdentity
    settings: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``run.json`` holds it."""
        # Through JSON, so that what was read back compares equal to what was written.
        plain: dict[str, Any] = json.loads(
            json.dumps({"slide": asdict(self.slide), "settings": self.settings})
        )
        return plain


def result_folders(
    out: Path, identities: Iterable[tuple[Path, SlideIdentity]]
) -> dict[Path, Path]:
    """Choose a results folder for each slide, the same whatever their order.

    ``<stem>`` where that is free or the slide's own, ``<stem>-<hash6>`` where it belongs to another
    slide or where slides of one name come together.
    """
    identities = list(identities)
    contents = {identity.content: path for path, identity in identities}
    stems = Counter(slide_stem(path).casefold() for path in contents.values())
    folders = {}
    for path, identity in identities:
        stem = slide_stem(path)
        plain, hashed = out / stem, out / f"{stem}-{identity.sha256[:6]}"
        owner = _owner(plain)
        if owner == identity.content and not hashed.exists():
            folders[path] = plain
        elif hashed.exists() or owner is not None or stems[stem.casefold()] > 1:
            folders[path] = hashed
        else:
            folders[path] = plain
    return folders


def slide_stem(path: Path) -> str:
    """Return a slide's name without its ending, ``.ome.tif`` and ``.ome.zarr`` included."""
    stem = path.stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return what ``run.json`` of a folder says, or ``None`` where there is none.

    Raises
    ------
    OutputError
        The file is damaged.
    """
    path = folder / RUN_FILE
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        run["fingerprint"], run["state"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: damaged ({error}); remove the folder or give --overwrite"
                          ) from None
    return run


def write_run(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``run.json``, whole or not at all."""
    with whole_file(folder / RUN_FILE) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def claim_folder(
    folder: Path, earlier: Mapping[str, Any] | None, *, fingerprint: Fingerprint
) -> None:
    """Refuse a folder that is not this run's.

    Parameters
    ----------
    folder
        The folder.
    earlier
        What its ``run.json`` says. Only sections that both have are compared: tiles that were
        stored first know nothing of detecting.
    fingerprint
        Of this run.

    Raises
    ------
    OutputConflictError
        It was made from another slide or with other settings, or holds something else.
    """
    if earlier is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputConflictError(f"{folder}: holds no run of ours; give another --out")
        return
    before, now = earlier["fingerprint"], fingerprint.as_dict()
    common = before["settings"].keys() & now["settings"].keys()
    different = differences(before["slide"], now["slide"], prefix="slide.") + differences(
        {key: before["settings"][key] for key in sorted(common)},
        {key: now["settings"][key] for key in sorted(common)},
    )
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise OutputConflictError(
            f"{folder}: holds a run with other settings ({'; '.join(different[:3])}{more}); "
            "give --overwrite or another --out"
        )


def library_versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    names = ("wsi-suite", "torch", "timm", "openslide-python", "numpy", "scikit-image", "zarr")
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """Name the values that differ between two nested mappings, as ``key: old, now new``."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, prefix=f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}: {_short(old)}, now {_short(new)}")
    return found


def _owner(folder: Path) -> tuple[int, str] | None:
    """Return whose folder it is; something no slide has where that cannot be told."""
    try:
        run = read_run(folder)
    except OutputError:
        return (-1, "")
    if run is None:
        return (-1, "") if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) else None
    slide = run["fingerprint"]["slide"]
    return slide["size"], slide["sha256"]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
