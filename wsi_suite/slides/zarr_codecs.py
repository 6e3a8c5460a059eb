"""Which codecs an array may name: those that turn bytes into numbers and do nothing else.

Zarr finds codecs by name among all that are installed. Some build Python objects from a file, and
``pickle`` runs what the file says; none of them is needed for pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import zarr

_CHECKSUMS = {"adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"}
_COMPRESSORS = {"blosc", "bz2", "gzip", "lz4", "lzma", "pcodec", "zfpy", "zlib", "zstd"}
_FILTERS = {"astype", "bitround", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle"}
_ZARR_3 = {"bytes", "cast_value", "endian", "scale_offset", "sharding_indexed", "transpose"}
_KNOWN = _CHECKSUMS | _COMPRESSORS | _FILTERS | _ZARR_3 | {"base64"}


def unknown_codec(array: zarr.Array[Any]) -> str | None:
    """Return the name of a codec that is none for pixels, ``None`` if there is no such codec.

    Compressors and filters of Zarr v2 are looked at, and codecs of v3, inside shards too.
    """
    stated = array.metadata.to_dict()
    codecs = [stated.get(key) for key in ("compressor", "filters", "codecs")]
    return next((name for name in _names(codecs) if not _is_known(name)), None)


def _is_known(name: str) -> bool:
    # Codecs of imagecodecs, a plug-in of numcodecs, are for images only.
    return name.removeprefix("numcodecs.") in _KNOWN or name.startswith("imagecodecs_")


def _names(codecs: object) -> Iterator[str]:
    if isinstance(codecs, (list, tuple)):
        for codec in codecs:
            yield from _names(codec)
    elif isinstance(codecs, Mapping):
        yield str(codecs.get("name", codecs.get("id")))
        settings = codecs.get("configuration")
        if isinstance(settings, Mapping):
            yield from _names([settings.get("codecs"), settings.get("index_codecs")])
