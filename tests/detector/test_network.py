import numpy as np
import pytest
import torch

from wsi_suite.detector.backbone import build_backbone
from wsi_suite.detector.network import NucleusNet, decode_peaks
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.errors import ModelError


def maps_of(confidence: np.ndarray, **others: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return maps with the given ``(N, classes, h, w)`` confidences and no offsets."""
    heat = torch.logit(torch.as_tensor(confidence, dtype=torch.float32))
    n, _, h, w = heat.shape
    return {"heat": heat, "offset": torch.zeros(n, 2, h, w), **others}


@pytest.mark.parametrize(
    "backbone",
    ["resnet10t", "resnet18", "resnet34d", "resnet50", "resnext50_32x4d", "resnetblur18"],
)
def test_plain_resnets_are_taken(backbone):
    with torch.device("meta"):  # shapes alone: no weights are drawn, nothing is computed
        network = NucleusNet(NetworkSpec(backbone=backbone, channels=8), classes=3)
        maps = network(torch.zeros(1, 3, 32, 48))
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "heat": (1, 1, 16, 24),
        "kind": (1, 3, 16, 24),
        "offset": (1, 2, 16, 24),
        "size": (1, 1, 16, 24),
    }


def test_classes_may_have_heatmaps_of_their_own():
    with torch.device("meta"):
        spec = NetworkSpec(class_map=False, sizes=False, stem_pool=True, upsample=2)
        maps = NucleusNet(spec, classes=3)(torch.zeros(1, 3, 32, 48))
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "heat": (1, 3, 16, 24),
        "offset": (1, 2, 16, 24),
    }


@pytest.mark.parametrize("backbone", ["seresnet18", "ecaresnet26t", "resnet50_gn"])
def test_backbones_that_look_at_the_whole_tile_are_refused_by_name(backbone):
    with pytest.raises(ModelError, match=f"'{backbone}'.*whole tile.*resnet18") as refusal:
        build_backbone(NetworkSpec(backbone=backbone))
    assert "\n" not in str(refusal.value)


def test_an_unknown_backbone_is_refused_with_the_nearest_name():
    with pytest.raises(ModelError, match=r"'resnet181' is not .* \(did you mean 'resnet18"):
        build_backbone(NetworkSpec(backbone="resnet181"))
    with pytest.raises(ModelError, match="'vgg' is not a ResNet of timm, as in resnet18"):
        build_backbone(NetworkSpec(backbone="vgg"))


def test_a_tag_of_weights_may_follow_the_name():
    build_backbone(NetworkSpec(backbone="resnet10t.c3_in1k", stages=1))
    with pytest.raises(ModelError, match=r"resnet10t\.none.*cannot be made"):
        build_backbone(NetworkSpec(backbone="resnet10t.none", stages=1, pretrained=True))


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("upsample", [1, 2, 3, 4])
@pytest.mark.parametrize("stem_pool", [False, True])
def test_windows_of_aligned_sizes_fit_the_strides(stages, upsample, stem_pool):
    spec = NetworkSpec(stages=stages, upsample=upsample, stem_pool=stem_pool)
    assert spec.align_px * upsample % (2 ** (stages + stem_pool)) == 0
    assert (spec.align_px / spec.cell_px).is_integer()


def test_sizes_have_a_head_of_their_own(make_network):
    with torch.inference_mode():
        maps = make_network(sizes=True)(torch.zeros(2, 3, 16, 16))
    assert maps["size"].shape == (2, 1, 8, 8)
    assert "size" not in make_network(sizes=False)(torch.zeros(2, 3, 16, 16))


def test_a_shifted_window_gives_shifted_maps(make_network):
    network = make_network(upsample=2, stages=3)
    align = network.spec.align_px
    rgb = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 3, 192, 192)))
    rgb = torch.nn.functional.avg_pool2d(rgb.float(), 5, 1, 2)
    with torch.inference_mode():
        first = network(rgb[..., : 192 - align, : 192 - align])
        second = network(rgb[..., align:, align:])
    cells = round(align / network.spec.cell_px)
    inner = slice(32, -32)  # away from the borders of the windows
    for name, a in first.items():
        b = second[name]
        assert a[..., cells:, cells:][..., inner, inner].numpy() == pytest.approx(
            b[..., :-cells, :-cells][..., inner, inner].numpy(), abs=1e-4
        )


def test_no_number_of_nuclei_is_too_many():
    confidence = np.full((1, 1, 120, 100), 0.01)
    confidence[..., ::2, ::2] = 0.9
    [found] = decode_peaks(maps_of(confidence), min_confidence=0.5, cell_px=2.0)
    rows, cols = np.mgrid[:120:2, :100:2]
    assert len(found.points) == 3000
    assert (found.points == np.column_stack([cols.ravel(), rows.ravel()]) * 2.0 + 1).all()


def test_nuclei_at_borders_and_corners_are_kept():
    confidence = np.full((1, 1, 5, 7), 0.01)
    cells = [(0, 0), (0, 3), (0, 6), (2, 0), (2, 6), (4, 0), (4, 3), (4, 6)]
    for cell in cells:
        confidence[0, 0, *cell] = 0.6
    [found] = decode_peaks(maps_of(confidence), min_confidence=0.5, cell_px=1.0)
    assert [(y - 0.5, x - 0.5) for x, y in found.points] == cells


def test_cells_of_one_height_are_all_peaks():
    confidence = np.full((1, 1, 5, 7), 0.1)
    confidence[0, 0, 2, 2:4] = 0.7
    [found] = decode_peaks(maps_of(confidence), min_confidence=0.5, cell_px=1.0)
    assert found.points.tolist() == [[2.5, 2.5], [3.5, 2.5]]


def test_a_lower_neighbour_of_another_class_is_no_nucleus():
    confidence = np.full((1, 2, 5, 7), 0.1)
    confidence[0, 0, 2, 2], confidence[0, 1, 2, 3] = 0.7, 0.8
    [found] = decode_peaks(maps_of(confidence), min_confidence=0.5, cell_px=1.0)
    assert found.points.tolist() == [[3.5, 2.5]]
    assert found.label.tolist() == [1]


def test_the_threshold_counts_itself():
    confidence = np.full((1, 1, 3, 3), 0.1)
    confidence[0, 0, 1, 1] = 0.5
    assert len(decode_peaks(maps_of(confidence), min_confidence=0.5, cell_px=1.0)[0].points) == 1
    assert len(decode_peaks(maps_of(confidence), min_confidence=0.501, cell_px=1.0)[0].points) == 0


def test_each_window_has_its_own_nuclei():
    confidence = np.full((3, 1, 3, 4), 0.1)
    confidence[0, 0, 0, 1], confidence[2, 0, 2, 3], confidence[2, 0, 0, 0] = 0.6, 0.7, 0.8
    size = torch.arange(36.0).reshape(3, 1, 3, 4)
    found = decode_peaks(maps_of(confidence, size=size), min_confidence=0.5, cell_px=2.0)
    assert [peaks.points.tolist() for peaks in found] == [[[3, 1]], [], [[1, 1], [7, 5]]]
    assert found[2].confidence == pytest.approx([0.8, 0.7])
    assert found[2].radius.tolist() == [48, 70]
    assert found[1].points.shape == (0, 2)


def test_offsets_move_points_out_of_the_middle_of_their_cells():
    maps = maps_of(np.full((1, 1, 1, 1), 0.9))
    maps["offset"][0, :, 0, 0] = torch.tensor([0.5, -0.25])
    [found] = decode_peaks(maps, min_confidence=0.5, cell_px=2.0)
    assert found.points.tolist() == [[2.0, 0.5]]


def test_the_class_map_says_how_likely_each_class_is():
    confidence = np.full((1, 1, 3, 4), 0.1)
    confidence[0, 0, 0, 1], confidence[0, 0, 2, 3] = 0.6, 0.9
    kind = torch.zeros(1, 2, 3, 4)
    kind[0, :, 0, 1], kind[0, :, 2, 3] = torch.tensor([0, 1.0]), torch.tensor([2.0, 0])
    [found] = decode_peaks(maps_of(confidence, kind=kind), min_confidence=0.5, cell_px=1.0)
    assert found.confidence == pytest.approx([0.6, 0.9])  # of the nucleus, whatever its class
    assert found.label.tolist() == [1, 0]
    second, first = 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2))
    assert found.class_probability == pytest.approx(
        np.array([[1 - second, second], [first, 1 - first]])
    )
    assert found.take(np.array([1])).class_probability.tolist() == [
        found.class_probability[1].tolist()
    ]
