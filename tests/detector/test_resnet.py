"""Plain ResNets beside those of timm: one network, made in two ways."""

import subprocess
import sys

import pytest
import torch

from wsi_suite.detector.backbone import build_backbone
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.detector.resnet import PLAIN, PlainResNet, plain_resnet


@pytest.mark.parametrize("name", PLAIN)
def test_parts_are_named_and_ordered_as_by_timm(name: str) -> None:
    spec = NetworkSpec(backbone=name)
    with torch.device("meta"):
        ours, timms = PlainResNet(spec).state_dict(), build_backbone(spec).state_dict()
    assert [(key, value.shape) for key, value in ours.items()] == [
        (key, value.shape) for key, value in timms.items()
    ]


@pytest.mark.parametrize("name", ["resnet18", "resnet26"])  # of basic blocks and of bottlenecks
@pytest.mark.parametrize("stem_pool", [False, True])
def test_features_are_those_of_timm_to_the_bit(name: str, stem_pool: bool) -> None:
    spec = NetworkSpec(backbone=name, stages=3, stem_pool=stem_pool)
    torch.manual_seed(0)
    timms = build_backbone(spec).eval()
    for layer in timms.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # timm begins some with 0, which hides a branch
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    ours = PlainResNet(spec).eval()
    ours.load_state_dict(timms.state_dict())
    pixels = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        for one, other in zip(ours(pixels), timms(pixels), strict=True):
            assert torch.equal(one, other)


def test_a_tag_names_weights_and_no_other_network() -> None:
    assert plain_resnet(NetworkSpec(backbone="resnet18.a1_in1k", stages=1)) is not None
    assert plain_resnet(NetworkSpec(backbone="resnet18d", stages=1)) is None


def test_a_bundled_model_needs_no_timm() -> None:
    code = (
        "import sys\n"
        "from wsi_suite.detector.model_folder import find_model, load_network\n"
        "load_network(find_model('endonuke-resnet18'))\n"
        "assert not {'timm', 'torchvision', 'torch._dynamo'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
