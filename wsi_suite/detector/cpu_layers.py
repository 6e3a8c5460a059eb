"""A network's layers as oneDNN runs them best on a CPU: fewer passes over memory.

A convolution also adds the shortcut and clips at zero while its result is in registers, and its
weights lie as the instructions want them. In bfloat16 this is also more exact, since the sum is
rounded once. The operators are those that ``torch.compile`` chooses; no compiler is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsi_suite.detector.network import NucleusNet
from wsi_suite.detector.resnet import BasicBlock, Bottleneck, PlainResNet


def has_cpu_layers() -> bool:
    """Return whether torch has the operators here; they are tried on x86 only."""
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and all(
            hasattr(torch.ops.mkldnn, name)
            for name in (
                "_convolution_pointwise",
                "_convolution_pointwise_",
                "_reorder_convolution_weight",
            )
        )
    )


def use_cpu_layers(network: NucleusNet) -> NucleusNet:
    """Put a network's layers together in place, and return it.

    The network is in evaluation mode, on the CPU, in its final precision, and its batch norms are
    folded. It can no longer be trained or traced.
    """
    backbone = network.backbone
    if not isinstance(backbone, PlainResNet):  # others come from timm and have layers of their own
        return network
    setattr(backbone, "conv1", _Conv(backbone.conv1, clip=True))  # noqa: B010 - of another type
    setattr(backbone, "act1", nn.Identity())  # noqa: B010
    for stage in range(len(backbone.widths)):
        blocks = backbone.get_submodule(f"layer{stage + 1}")
        for name, block in list(blocks.named_children()):
            assert isinstance(block, BasicBlock | Bottleneck)
            setattr(blocks, name, _Block(block))
    for row in (network.smooth, network.heat):
        conv = row[0]
        assert isinstance(conv, nn.Conv2d)
        row[0], row[2] = _Conv(conv, clip=True), nn.Identity()
    return network


class _Conv(nn.Module):
    """A convolution with its residual sum and ReLU."""

    def __init__(self, conv: nn.Conv2d, *, clip: bool) -> None:
        super().__init__()
        self.bias = conv.bias
        self._place = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        padding, stride, dilation, groups = self._place
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight.detach(), padding, stride, dilation, groups
        )
        self._clip = clip

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`."""
        clip = "relu" if self._clip else "none"
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self.bias, *self._place, clip, [], ""
        )
        return result

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """Add the convolution of `x` to `total`, in place."""
        clip = "relu" if self._clip else None
        result: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, self._weight, self.bias, *self._place, "add", None, clip, [], ""
        )
        return result


class _Block(nn.Module):
    """A block of a plain ResNet.

    Its last convolution adds to the shortcut in place. Without a convolution of its own that is
    the block's input, which nothing else reads: the features of a stage go to the next stage only,
    whose first block has one.
    """

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        convs = [block.conv1, block.conv2]
        if isinstance(block, Bottleneck):
            convs.append(block.conv3)
        self.convs = nn.ModuleList(_Conv(conv, clip=True) for conv in convs)
        down = block.downsample
        self.downsample = None
        if down is not None:
            conv = down.get_submodule("0")
            assert isinstance(conv, nn.Conv2d)
            self.downsample = _Conv(conv, clip=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of a batch."""
        shortcut = x if self.downsample is None else self.downsample(x)
        *first, last = self.convs
        for conv in first:
            x = conv(x)
        assert isinstance(last, _Conv)
        return last.add_to(shortcut, x)
