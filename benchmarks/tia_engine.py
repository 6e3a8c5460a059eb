"""TIAToolbox's NucleusDetector with the suite's own network, for ``evidence.py``.

Its engine reads patches of 512 px that overlap by a quarter, as a network with a margin of 64 px
needs, in the tissue that it finds itself; it stores maps of probability and finds peaks in them.
Stain is not measured, and there is no overview.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from wsi_suite.detector.detector import Detector

PATCH_PX, KEPT_PX = 512, 384
BATCH = 8


def run(slide: Path, detector: Detector, folder: Path, *, threads: int) -> None:
    """Detect the nuclei of a slide with TIAToolbox, and write them for QuPath.

    Parameters
    ----------
    slide, folder
        The slide, and where results go.
    detector
        Its network is used, and its resolution, distance and confidence.
    threads
        Threads of a forward pass.
    """
    from tiatoolbox import logger
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.nucleus_detector import NucleusDetector

    logger.setLevel(logging.ERROR)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    spec = detector.spec
    at = [{"units": "mpp", "resolution": spec.read_mpp}]
    engine = NucleusDetector(_model(detector), batch_size=BATCH, device="cpu", verbose=False)
    try:
        engine.run(
            images=[slide],
            patch_mode=False,
            ioconfig=IOSegmentorConfig(
                input_resolutions=at,
                output_resolutions=at,
                patch_input_shape=(PATCH_PX, PATCH_PX),
                patch_output_shape=(KEPT_PX, KEPT_PX),
                stride_shape=(KEPT_PX, KEPT_PX),
                save_resolution=at[0],
            ),
            save_dir=folder,
            output_type="qupath",
            class_dict={0: "nucleus"},
            auto_get_mask=True,
            min_distance=round(spec.min_distance_um / spec.read_mpp),
            threshold_abs=spec.min_confidence,
            verbose=False,
        )
    finally:
        torch.set_num_threads(before)


def _model(detector: Detector) -> torch.nn.Module:
    from tiatoolbox.models.architecture.utils import peak_detection_map_overlap
    from tiatoolbox.models.models_abc import ModelABC

    class Model(ModelABC):
        """The network as TIAToolbox wants one."""

        tile_shape = (2048, 2048)
        min_distance = 4

        def __init__(self) -> None:
            super().__init__()
            self.class_dict = {0: "nucleus"}
            self.network = detector.network

        def forward(self, rgb: Tensor) -> Tensor:
            """Return probabilities, a value for each pixel of what is kept."""
            heat = self.network.look_for_peaks(rgb)["heat"].sigmoid()
            whole = interpolate(heat, size=rgb.shape[2:])
            edge = (PATCH_PX - KEPT_PX) // 2
            return whole[:, :, edge:-edge, edge:-edge]

        @staticmethod
        def infer_batch(model: torch.nn.Module, batch_data: Tensor, *, device: str) -> object:
            """Return the maps of a batch of ``(N, H, W, 3)`` patches."""
            with torch.inference_mode():
                maps = model(batch_data.to(device).permute(0, 3, 1, 2))
            return maps.permute(0, 2, 3, 1).contiguous().numpy()

        @staticmethod
        def postproc(block: object, block_info: object = None, **options: object) -> object:
            """Return a map of peaks; `block_info` stands there for Dask to see."""
            return peak_detection_map_overlap(block, block_info=block_info, **options)

    return Model()
