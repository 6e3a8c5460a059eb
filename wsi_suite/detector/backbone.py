"""Backbones made by timm, and the check that they are local."""

from __future__ import annotations

import timm
from timm.layers.blur_pool import BlurPool2d
from timm.models import FeatureListNet
from torch import nn

from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.errors import ModelError, did_you_mean

_LOCAL_LAYERS = (
    nn.Conv2d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.SiLU,
    nn.LeakyReLU,
    nn.GELU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.Identity,
    nn.Dropout,
    nn.ZeroPad2d,
    BlurPool2d,
)


def build_backbone(spec: NetworkSpec) -> FeatureListNet:
    """Create the timm ResNet and refuse one that is not local."""
    known = timm.list_models(module="resnet")
    if spec.backbone.partition(".")[0] not in known:  # a tag may follow, as in resnet18.a1_in1k
        hint = did_you_mean(spec.backbone, known) or ", as in resnet18 or resnet50"
        raise ModelError(f"backbone '{spec.backbone}' is not a ResNet of timm{hint}")
    try:
        backbone = timm.create_model(
            spec.backbone,
            pretrained=spec.pretrained,
            features_only=True,
            out_indices=tuple(range(1, spec.stages + 1)),
        )
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"backbone '{spec.backbone}' cannot be made ({_first_line(error)}); "
            "without a network connection set network.pretrained to false"
        ) from None
    assert isinstance(backbone, FeatureListNet)
    if not spec.stem_pool:
        backbone["maxpool"] = nn.Identity()
    for name, layer in backbone.named_modules():
        if not any(layer.children()) and not isinstance(layer, _LOCAL_LAYERS):
            raise ModelError(
                f"backbone '{spec.backbone}': its {type(layer).__name__} ({name}) may look at "
                "the whole tile, so tiles would not agree with the slide; take a plain ResNet "
                "such as resnet18, resnet50 or resnext50_32x4d"
            )
    return backbone


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
