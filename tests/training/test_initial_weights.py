"""Weights of ResNets from files of timm and torchvision."""

from __future__ import annotations

import hashlib
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from wsi_suite.detector.backbone import build_backbone
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.errors import ModelError
from wsi_suite.training.initial_weights import load_backbone


@pytest.fixture(scope="module")
def weights():
    """The state dict of a whole ResNet-18, with its classifier, as timm and torchvision name it."""
    torch.manual_seed(7)
    return timm.create_model("resnet18", pretrained=False).state_dict()


def backbone(name="resnet18", stages=2):
    torch.manual_seed(1)
    return build_backbone(NetworkSpec(backbone=name, stages=stages))


def assert_taken(network, weights, names):
    state = network.state_dict()
    for name in names:
        assert torch.equal(state[name], weights[name])


@pytest.mark.parametrize("form", ["safetensors", "plain", "wrapped", "prefixed"])
def test_all_of_a_backbone_is_taken(weights, tmp_path, form):
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(weights, path)
    elif form == "plain":
        torch.save(weights, path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "state_dict": weights}, path)
    else:
        torch.save({f"module.encoder.{name}": value for name, value in weights.items()}, path)
    network = backbone()
    taken = load_backbone(network, path)
    assert taken.share == 1
    assert (taken.not_taken, taken.unused) == ((), ())
    assert taken.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert_taken(network, weights, network.state_dict())
    assert "100.0 % of the backbone's weights are taken" in str(taken)


def test_half_precision_is_read(weights, tmp_path):
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in weights.items()},
        tmp_path / "w.safetensors",
    )
    network = backbone()
    load_backbone(network, tmp_path / "w.safetensors")
    value = network.state_dict()["conv1.weight"]
    assert value.dtype == torch.float32
    assert torch.equal(value, weights["conv1.weight"].half().float())


def test_another_stem_stays_random_and_is_told(weights, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(weights, path)
    network = backbone("resnet18d")  # three 3x3 convolutions in place of one of 7x7
    before = network.state_dict()["conv1.0.weight"].clone()
    taken = load_backbone(network, path)
    assert 0.9 < taken.share < 1
    assert "conv1.0.weight (not in the file)" in taken.not_taken
    assert taken.unused[:2] == ("conv1.weight", "layer2.0.downsample.0.weight")
    assert torch.equal(network.state_dict()["conv1.0.weight"], before)
    assert_taken(network, weights, ["layer1.0.conv1.weight", "layer2.1.bn2.running_var"])
    assert "random are conv1.0.weight" in str(taken)
    assert "the backbone lacks conv1.weight" in str(taken)


def test_a_part_of_another_shape_is_told(weights, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(weights | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    taken = load_backbone(backbone(), path)
    assert taken.not_taken == ("conv1.weight (64x3x3x3 in the file, 64x3x7x7 here)",)


def test_the_weights_of_another_network_are_refused(weights, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(weights, path)
    with pytest.raises(
        ModelError, match=r"fits \d+ % .* at least 70 % are needed; .*network\.back"
    ):
        load_backbone(backbone("resnet50"), path)


class Code:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not weights that PyTorch reads as data alone"),
        (b"x" * 999, "not weights that PyTorch reads as data alone"),
        (pickle.dumps(Code()), "not weights that PyTorch reads as data alone"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path, content, message, capsys):
    path = tmp_path / "w.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        load_backbone(backbone(), path)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_damaged_safetensors_and_other_networks_are_refused(weights, tmp_path):
    broken = tmp_path / "w.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not readable as safetensors"):
        load_backbone(backbone(), broken)
    save_file({"blocks.0.attn.qkv.weight": torch.zeros(3, 3)}, broken)
    with pytest.raises(ModelError, match=r"not of a ResNet, .*found blocks\.0\.attn"):
        load_backbone(backbone(), broken)
    save_file(weights | {"conv1.weight": torch.full((64, 3, 7, 7), torch.nan)}, broken)
    with pytest.raises(ModelError, match=r"conv1\.weight holds values that are not numbers"):
        load_backbone(backbone(), broken)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="found no weights"):
        load_backbone(backbone(), tmp_path / "list.pth")
