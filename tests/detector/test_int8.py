"""The network in int8: its ranges, its answers beside float32, and where it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from networks import clouds, save_tiny_model
from scipy.spatial import cKDTree

from wsi_suite.analysis.analysed import analyse
from wsi_suite.detector import detector as at_work
from wsi_suite.detector.added_models import add_model
from wsi_suite.detector.checksums import read_sums
from wsi_suite.detector.detector import Compute, Detector, choose_compute, for_model, load_detector
from wsi_suite.detector.int8_layers import Steps, int8_is_fast
from wsi_suite.detector.int8_ranges import RANGES_FILE, read_ranges
from wsi_suite.detector.model_check import verify_model
from wsi_suite.detector.model_folder import (
    ModelFolder,
    ModelSpec,
    find_model,
    load_network,
    save_model,
)
from wsi_suite.detector.network import NucleusNet
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.detector.resnet import plain_resnet
from wsi_suite.errors import ModelError
from wsi_suite.geometry import Box
from wsi_suite.slides.slide import open_slide
from wsi_suite.synthetic import make_slide
from wsi_suite.training.int8_ranges import learn_ranges
from wsi_suite.training.labelled import LabelledTile

pytestmark = pytest.mark.usefixtures("one_torch_thread")
fast = pytest.mark.skipif(not int8_is_fast(), reason="this CPU has no instructions for int8")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> npt.NDArray[np.uint8]:
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    make_slide(path, width=1600, height=1600, mpp=0.25)
    with open_slide(path) as slide:
        return np.asarray(slide.raster(0.5).read(Box(128, 128, 512, 384)), np.uint8)


def tiles_of(folder: Path, *pictures: npt.NDArray[np.uint8]) -> list[LabelledTile]:
    folder.mkdir(exist_ok=True)
    none = np.empty(0)
    tiles = []
    for number, rgb in enumerate(pictures):
        image = folder / f"{number}.png"
        cv2.imwrite(str(image), rgb[..., ::-1])
        tiles.append(
            LabelledTile(
                str(number), "run", image, 0.5, none.reshape(0, 2), none.astype(np.uint8), none
            )
        )
    return tiles


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    """A model of random weights, with its ranges."""
    found = find_model(save_tiny_model(tmp_path / "model"))
    learn_ranges(found, tiles_of(tmp_path / "tiles", clouds(64, 96, seed=1)))
    return found


def test_ranges_are_the_largest_values_after_each_layer(tmp_path: Path) -> None:
    model = find_model(save_tiny_model(tmp_path / "model"))
    pictures = [clouds(96, 96, seed=1), clouds(91, 71, seed=2)]  # one that does not fit the cells
    assert model.spec.network.align_px == 2
    ranges = learn_ranges(model, tiles_of(tmp_path / "tiles", *pictures))
    assert ranges is not None
    network = load_network(model)
    expected: list[float] = []
    for rgb in (pictures[0], np.pad(pictures[1], ((0, 1), (0, 1), (0, 0)), mode="symmetric")):
        with torch.inference_mode():
            x = network._normalised(torch.from_numpy(rgb[None]).movedim(-1, 1))
            x = network.backbone.act1(network.backbone.bn1(network.backbone.conv1(x)))
        expected.append(float(np.quantile(x.numpy(), 1 - 1e-4, method="higher")))
    assert ranges.largest["backbone.act1"] == pytest.approx(max(expected), rel=1e-2)
    assert ranges.tiles == 2
    assert set(ranges.largest) == {
        "backbone.act1",
        *(f"backbone.layer1.{block}.act{i}" for block in (0, 1) for i in (1, 2)),
        "smooth",
        "smooth.2",
    }
    found, digest = read_ranges(model)
    assert found == ranges
    assert digest == (read_sums(model.path) or {})[RANGES_FILE]
    assert find_model(model.path).hash == model.hash, "it is no part of the hash"


def test_bytes_stand_for_values_to_half_a_step() -> None:
    values = torch.linspace(-3, 3, 1001)
    for steps, lowest in ((Steps.to(2.0), 0.0), (Steps.between(2.0), -2.0)):
        back = (steps.bytes_of(values).float() - steps.zero) * steps.step
        expected = values.clamp(lowest, 2.0)
        assert float((back - expected).abs().max()) <= steps.step  # the range's ends are one off


@fast
@pytest.mark.parametrize("flips", [False, True])
def test_nuclei_are_those_of_float32(window: npt.NDArray[np.uint8], flips: bool) -> None:
    exact = load_detector(device="cpu", precision="fp32", flips=flips).detect(window[None])[0]
    [found] = load_detector(device="cpu", precision="int8", flips=flips).detect(window[None])
    assert len(exact.points) > 100
    distance, nearest = cKDTree(found.points).query(exact.points)
    same = distance < 1.0
    assert same.mean() >= 0.97
    assert abs(len(found.points) - len(exact.points)) <= 0.02 * len(exact.points)
    assert np.abs(found.confidence[nearest] - exact.confidence)[same].mean() < 0.02
    assert (found.label[nearest] == exact.label)[same].mean() >= 0.98
    assert found.radius is not None
    assert exact.radius is not None
    assert np.abs(found.radius[nearest] - exact.radius)[same].mean() < 0.2


@fast
def test_the_whole_maps_and_those_where_nuclei_are_agree(window: npt.NDArray[np.uint8]) -> None:
    detector = load_detector(device="cpu", precision="int8")
    whole = detector.forward(window[None])
    with torch.inference_mode():
        sparse = detector.network.look_for_peaks(torch.from_numpy(window[None]).movedim(-1, 1))
    torch.testing.assert_close(sparse["heat"], whole["heat"], atol=1e-4, rtol=0)
    cells = tuple(torch.tensor(values) for values in ([0, 0], [0, 100], [0, 120]))
    for name in ("offset", "kind", "size"):
        expected = whole[name][cells[0], :, cells[1], cells[2]]
        torch.testing.assert_close(sparse[name].at(cells), expected, atol=1e-4, rtol=0)


@fast
def test_windows_of_a_batch_answer_as_alone(model: ModelFolder) -> None:
    windows = np.stack([clouds(64, 96, seed=seed) for seed in range(3)])
    detector = Detector(model, for_model(Compute("cpu", "int8", batch=3), model))
    for window, peaks in zip(windows, detector.detect(windows), strict=True):
        [alone] = detector.detect(window[None])
        assert len(alone.points) > 5
        np.testing.assert_allclose(peaks.points, alone.points, atol=1e-3)


@fast
@pytest.mark.parametrize(
    "network",
    [{"backbone": "resnet26", "stages": 3, "stem_pool": True}, {"stages": 2, "upsample": 2}],
)
def test_other_plain_resnets_are_computed_too(tmp_path: Path, network: dict[str, object]) -> None:
    spec = NetworkSpec.model_validate({"backbone": "resnet18", "channels": 16} | network)
    torch.manual_seed(0)
    weights = NucleusNet(spec, classes=2, backbone=plain_resnet(spec)).eval()
    model = save_model(tmp_path / "model", ModelSpec(name="other", network=spec), weights)
    picture = clouds(128, 160, seed=3)
    learn_ranges(model, tiles_of(tmp_path / "tiles", picture))
    exact = Detector(model, Compute("cpu", "fp32", 1)).forward(picture[None])
    found = Detector(model, for_model(Compute("cpu", "int8", 1), model)).forward(picture[None])
    for name, values in exact.items():
        assert float((found[name] - values).std()) < 0.1 * float(values.std()), name


@fast
def test_results_say_which_ranges_they_have(window: npt.NDArray[np.uint8]) -> None:
    _, digest = read_ranges(find_model("endonuke-resnet18"))
    found = analyse(window, mpp=0.5, settings={"detect.precision": "int8"}, device="cpu")
    assert (found.provenance.compute.precision, found.provenance.compute.ranges) == (
        "int8",
        digest[:12],
    )


@fast
def test_a_model_with_other_ranges_is_refused(model: ModelFolder) -> None:
    compute = for_model(choose_compute("cpu", "int8"), model)
    Detector(model, compute)
    with pytest.raises(ModelError, match=r"int8.json: differs from that of this run"):
        Detector(model, replace(compute, ranges="0" * 12))


@fast
def test_ranges_that_do_not_fit_are_refused(model: ModelFolder) -> None:
    path = model.path / RANGES_FILE
    (model.path / "SHA256SUMS").unlink()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"largest": {"backbone.act1": 1.0}}))
    with pytest.raises(ModelError, match=r"int8.json: lacks .* layer 'backbone.layer1.0.act1'"):
        Detector(model, for_model(Compute("cpu", "int8", 1), model))
    path.write_text(json.dumps(content | {"largest": {"backbone.act1": float("nan")}}))
    with pytest.raises(ModelError, match=r"int8.json: .*largest.*copy the model again"):
        verify_model(model)
    path.write_text(json.dumps(content | {"weights_sha256": "0" * 64}))
    with pytest.raises(ModelError, match=r"int8.json: was made with other weights"):
        verify_model(model)


@fast
def test_a_model_without_ranges_is_refused(model: ModelFolder) -> None:
    (model.path / RANGES_FILE).unlink()
    with pytest.raises(ModelError, match=r"has no int8.json, which detect.precision int8 needs"):
        for_model(choose_compute("cpu", "int8"), model)


def test_cpus_without_the_instructions_are_refused(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_work, "int8_is_fast", lambda: False)
    with pytest.raises(ModelError, match=r"int8: needs a CPU .* and this CPU has none"):
        choose_compute("cpu", "int8")
    with pytest.raises(ModelError, match="this CPU has none"):
        Detector(model, Compute("cpu", "int8", 1))  # as a run that began elsewhere


def test_backbones_of_timm_have_no_ranges(tmp_path: Path) -> None:
    spec = NetworkSpec(backbone="resnet10t", stages=2, channels=8)
    folder = tmp_path / "model"
    save_model(folder, ModelSpec(name="other", network=spec), NucleusNet(spec, classes=2).eval())
    assert (
        learn_ranges(find_model(folder), tiles_of(tmp_path / "t", clouds(64, 64, seed=1))) is None
    )
    assert not (folder / RANGES_FILE).exists()


def test_a_copy_of_a_model_has_its_ranges(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSI_SUITE_MODELS", str(tmp_path / "added"))
    copy = add_model(model.path)
    assert read_ranges(copy)[0] == read_ranges(model)[0]
