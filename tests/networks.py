"""Tiny networks and folders of tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from wsi_suite.detector.model_folder import ModelSpec, save_model
from wsi_suite.detector.network import NucleusNet
from wsi_suite.detector.network_spec import NetworkSpec


def clouds(height: int, width: int, *, seed: int) -> np.ndarray:
    """Return ``(height, width, 3)`` uint8 of soft coloured noise."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), 2.0)
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


def make_network(**spec: object) -> NucleusNet:
    """Return a tiny network of random weights that finds nuclei in clouds."""
    torch.manual_seed(0)
    values: dict[str, object] = {"backbone": "resnet10t", "stages": 2, "channels": 8}
    network = NucleusNet(NetworkSpec.model_validate(values | spec), classes=2).eval()
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        rgb = torch.from_numpy(clouds(64, 64, seed=0)).movedim(-1, 0)[None].float()
        maps = network(rgb)
        for name, middle, spread in (
            ("heat", -1.0, 1.5),
            ("kind", 0.0, 1.5),
            ("offset", 0.0, 0.2),
            ("size", 1.5, 0.3),
        ):
            if name not in maps:
                continue
            final, answers = getattr(network, name)[-1], maps[name]
            gain = spread / answers.std()
            final.weight.mul_(gain)
            final.bias.sub_(answers.mean(dim=(0, 2, 3))).mul_(gain).add_(middle)
    return network


def save_tiny_model(folder: Path, **spec: object) -> Path:
    """Write a model of random weights that finds some hundred nuclei of both classes."""
    torch.manual_seed(4)
    network = NetworkSpec(stages=1, channels=8)
    weights = NucleusNet(network, classes=2).eval()
    with torch.no_grad():
        weights.heat[-1].weight.mul_(100)  # spreads the confidences
        weights.heat[-1].bias.add_(1)
        weights.kind[-1].weight.mul_(40)
        weights.size[-1].bias.add_(2)
    description = ModelSpec(name="tiny", network=network, min_confidence=0.1, halo_px=32, **spec)
    save_model(folder, description, weights)
    return folder


def _dotted(points: np.ndarray, *, size_px: int, seed: int) -> np.ndarray:
    """Return a noisy pale picture with a dark dot of radius 3 px at each point."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(200, 240, (size_px, size_px, 3)).astype(np.uint8)
    rows, cols = np.mgrid[:size_px, :size_px] + 0.5
    for x, y in points:
        rgb[(cols - x) ** 2 + (rows - y) ** 2 < 9] = (90, 60, 40)
    return rgb


def write_tiles(folder: Path, runs: Mapping[str, str], *, size_px: int = 64) -> Path:
    """Write a folder of tiles: `runs` by tile id; 8 nuclei each, classes 0 and 1 in turn."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed, name in enumerate(runs):
        points = np.random.default_rng(seed).integers(4, size_px - 4, (8, 2))
        rgb = _dotted(points + 0.5, size_px=size_px, seed=seed)
        (folder / "images" / f"{name}.png").write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1])
        lines = [f"{x} {y} {i % 2}" for i, (x, y) in enumerate(points)]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = "\n".join(["id,id_run,mpp", *(f"{name},{run},0.5" for name, run in runs.items())])
    (folder / "tiles.csv").write_text(table + "\n", encoding="utf-8-sig")
    return folder
