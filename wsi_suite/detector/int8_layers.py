"""A network's layers in int8, for CPUs that multiply bytes in hardware.

Weights are bytes with a step for each output of a layer, and values between layers are bytes with a
step for all, as the file of :mod:`~wsi_suite.detector.int8_ranges` says. Sums are exact. The
pyramid's sum and the heads' last layers stay in float32. The stem reads pixels as they are: the
usual normalisation is in its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wsi_suite.detector.int8_ranges import PYRAMID
from wsi_suite.detector.network import NucleusNet
from wsi_suite.detector.resnet import BasicBlock, Bottleneck, PlainResNet
from wsi_suite.errors import ModelError


def int8_is_fast() -> bool:
    """Return whether this CPU multiplies int8 in hardware (AVX-512 VNNI), and torch uses it.

    With earlier instructions sums would be cut to 16 bits, and wrong.
    """
    return torch.cpu._is_vnni_supported() and hasattr(torch.ops.onednn, "qconv2d_pointwise")


@dataclass(frozen=True)
class Steps:
    """How bytes stand for values: ``value = step * (byte - zero)``."""

    step: float
    zero: int = 0

    @classmethod
    def to(cls, largest: float) -> Steps:
        """Return steps from zero to the largest value."""
        return cls(max(largest, 1e-6) / 255)

    @classmethod
    def between(cls, largest: float) -> Steps:
        """Return steps from the negative of the largest value to the value itself."""
        return cls(max(largest, 1e-6) / 127, zero=128)

    def bytes_of(self, values: Tensor) -> Tensor:
        """Return values as bytes; those beyond the range are cut to it."""
        return torch.quantize_per_tensor(values, self.step, self.zero, torch.quint8).int_repr()


def use_int8_layers(
    network: NucleusNet, largest: Mapping[str, float], *, source: Path
) -> NucleusNet:
    """Replace a network's layers by those that compute in int8, in place, and return it.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU, in float32, with folded batch norms. It can no longer be
        trained or traced.
    largest
        Largest value that leaves each layer, by its name.
    source
        The file that says so, for messages.

    Raises
    ------
    ModelError
        A layer's largest value is not stated.
    """
    backbone = network.backbone
    assert isinstance(backbone, PlainResNet)
    try:
        steps = Steps.to(largest["backbone.act1"])
        setattr(backbone, "conv1", _stem(network, backbone.conv1, gives=steps))  # noqa: B010
        setattr(backbone, "act1", nn.Identity())  # noqa: B010 - of another type
        setattr(backbone, "maxpool", _Pool(backbone.maxpool))  # noqa: B010
        for stage, lateral in enumerate(network.lateral):
            blocks = backbone.get_submodule(f"layer{stage + 1}")
            for name, block in list(blocks.named_children()):
                assert isinstance(block, BasicBlock | Bottleneck)
                path = f"backbone.layer{stage + 1}.{name}.act"
                inner = len([part for part, _ in block.named_children() if part[:3] == "act"])
                gives = [Steps.to(largest[f"{path}{i + 1}"]) for i in range(inner)]
                setattr(blocks, name, _Block(block, takes=steps, gives=gives))
                steps = gives[-1]
            assert isinstance(lateral, nn.Conv2d)
            network.lateral[stage] = _Conv(lateral, takes=steps)
        first, _, _ = network.smooth
        assert isinstance(first, nn.Conv2d)
        network.smooth[0] = _Conv(first, takes=Steps.between(largest[PYRAMID]), clip=True)
        network.smooth[2] = nn.Identity()
        first = network.heat[0]
        assert isinstance(first, nn.Conv2d)
        network.heat[0] = _Conv(first, takes=Steps.to(largest["smooth.2"]), clip=True)
        network.heat[2] = nn.Identity()
    except KeyError as error:
        raise ModelError(
            f"{source}: lacks the largest value of layer {error}; copy the model again, or take "
            "detect.precision fp32"
        ) from None
    return network


class _Conv(nn.Module):
    """A convolution of bytes, with its residual sum and ReLU.

    Parameters
    ----------
    conv
        The convolution.
    takes, gives
        Steps of its input and its output; the output is float32 without them. Input of another
        type is made bytes first.
    clip
        Whether negative results become zero.
    """

    def __init__(
        self, conv: nn.Conv2d, *, takes: Steps, gives: Steps | None = None, clip: bool = False
    ) -> None:
        super().__init__()
        self.takes, self.gives = takes, gives
        self.bias = conv.bias
        self._clip = "relu" if clip else "none"
        self._place = (list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups)
        weight = conv.weight.detach()
        self._steps = weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / 127
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        whole = (weight / self._steps[:, None, None, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qconv_prepack(
            whole, self._steps, takes.step, takes.zero, *self._place, None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`."""
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *self._input(x), *self._output(), self._clip, [], ""
        )
        return result

    def add_to(self, total: Tensor, x: Tensor, *, step: float) -> Tensor:
        """Add the convolution of `x` to `total`, in place; `step` is that of `total`."""
        result: Tensor = torch.ops.onednn.qconv2d_pointwise.binary(
            *self._input(x, total), *self._output(), step, 0, "sum", 1.0, self._clip, [], ""
        )
        return result

    def _input(self, x: Tensor, *total: Tensor) -> tuple[object, ...]:
        if x.dtype != torch.uint8:
            x = self.takes.bytes_of(x)
        weight = (self._weight, self._steps, self._zeros)
        return x, self.takes.step, self.takes.zero, *weight, *total, self.bias, *self._place

    def _output(self) -> tuple[object, ...]:
        if self.gives is None:
            return 1.0, 0, torch.float32
        return self.gives.step, self.gives.zero, torch.uint8


class _Pool(nn.Module):
    """The stem's pooling, if it has one; torch's own takes no bytes."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Return the bytes of the pooled values."""
        return x if isinstance(self.pool, nn.Identity) else self.pool(x.float()).to(torch.uint8)


class _Block(nn.Module):
    """A block of a plain ResNet in bytes.

    Its last convolution adds to the shortcut in place. Without a convolution of its own that is
    the block's input, which nothing else reads; with one, the sum is float32, since the shortcut
    has negative values.
    """

    def __init__(self, block: BasicBlock | Bottleneck, *, takes: Steps, gives: list[Steps]) -> None:
        super().__init__()
        self.takes, self.gives = takes, gives[-1]
        convs = [block.conv1, block.conv2]
        if isinstance(block, Bottleneck):
            convs.append(block.conv3)
        *first, last = zip(convs, gives, strict=True)
        self.first = nn.Sequential()
        for conv, steps in first:
            self.first.append(_Conv(conv, takes=takes, gives=steps, clip=True))
            takes = steps
        self.downsample = None
        if block.downsample is not None:
            down = block.downsample.get_submodule("0")
            assert isinstance(down, nn.Conv2d)
            self.downsample = _Conv(down, takes=self.takes)
        conv, steps = last
        self.last = _Conv(conv, takes=takes, gives=None if self.downsample else steps, clip=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of a batch."""
        if self.downsample is None:
            return self.last.add_to(x, self.first(x), step=self.takes.step)
        return self.gives.bytes_of(self.last.add_to(self.downsample(x), self.first(x), step=1.0))


def _stem(network: NucleusNet, conv: nn.Conv2d, *, gives: Steps) -> _Conv:
    """Return the first convolution with the normalisation in it; the network's own is undone.

    Beyond a window's edge it sees a grey near the usual mean, as bytes have one zero for all three
    colours.
    """
    mean, std = network.mean, network.std
    grey = int((255 * mean).mean().round())
    weight = conv.weight.detach() / (255 * std)
    shift = (weight * (grey - 255 * mean)).sum(dim=(1, 2, 3))
    bias = shift if conv.bias is None else conv.bias.detach() + shift
    stem = nn.utils.skip_init(
        nn.Conv2d, 3, conv.out_channels, conv.kernel_size, conv.stride, conv.padding
    )
    stem.weight, stem.bias = nn.Parameter(weight), nn.Parameter(bias)
    network.mean, network.std = torch.full_like(mean, grey / 255), torch.full_like(std, 1 / 255)
    return _Conv(stem, takes=Steps(1.0, zero=grey), gives=gives, clip=True)
