"""DICOM slides for tests, as OpenSlide reads them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, generate_uid

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
CT = "1.2.840.10008.5.1.4.1.1.2"
TILE = 256

Pixels = npt.NDArray[np.uint8]


def write_instance(
    path: Path,
    pixels: Pixels,
    *,
    series: str,
    mpp: float = 0.5,
    kind: str = "VOLUME",
    sop_class: str = WHOLE_SLIDE,
    photometric: str = "YBR_FULL_422",
    coded: str = "YCBCR",
) -> Path:
    """Write one file of a series: a level, a label, or something else by its SOP class.

    Parameters
    ----------
    photometric, coded
        The colours that the header says, and those of its JPEG tiles.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = data.FrameOfReferenceUID = "1.2.3"
    data.SeriesInstanceUID = series
    data.PatientName, data.Modality = "Secret^Name", "SM"
    data.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    height, width = pixels.shape[:2]
    data.Rows = data.Columns = TILE
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    measures = Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.DimensionOrganizationType = "TILED_FULL"
    frames = _frames(pixels, coded=coded)
    data.NumberOfFrames = len(frames)
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    return path


def write_slide(
    folder: Path, name: str, pixels: Pixels, *, ending: str = ".dcm", mpp: float = 0.5
) -> list[Path]:
    """Write a slide of two levels and a label as three files of one series."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    return [
        write_instance(folder / f"{name}_0{ending}", pixels, series=series, mpp=mpp),
        write_instance(folder / f"{name}_1{ending}", pixels[::4, ::4], series=series, mpp=4 * mpp),
        write_instance(
            folder / f"{name}_00label{ending}", pixels[:TILE, :TILE], series=series, kind="LABEL"
        ),
    ]


def _frames(pixels: Pixels, *, coded: str) -> list[bytes]:
    height, width = pixels.shape[:2]
    whole = np.pad(pixels, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    return [
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(whole[y : y + TILE, x : x + TILE]),
            level=95,
            colorspace="RGB",
            outcolorspace=coded,
            subsampling="422" if coded == "YCBCR" else "444",
        )
        for y in range(0, whole.shape[0], TILE)
        for x in range(0, whole.shape[1], TILE)
    ]
