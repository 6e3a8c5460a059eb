import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_suite.detector.network import decode_peaks
from wsi_suite.training.targets import Targets, detection_loss, encode_targets, focal_loss

SHAPE = 12, 16


def encode(points, label, **options):
    return encode_targets(
        np.array(points, np.float64).reshape(-1, 2),
        np.array(label, np.uint8),
        **{"shape": SHAPE, "heatmaps": 2, "cell_px": 2.0, **options},
    )


def ideal_maps(targets: Targets) -> dict[str, torch.Tensor]:
    """Return the maps of a network that answers with the targets."""
    kind = torch.nn.functional.one_hot(torch.from_numpy(targets.kind).clamp(min=0), 2)
    maps = {
        "heat": torch.logit(torch.from_numpy(targets.heat), eps=1e-7)[None],
        "offset": torch.from_numpy(targets.offset)[None],
        "size": torch.from_numpy(targets.size).nan_to_num()[None],  # NaN if there is none
    }
    if len(targets.heat) == 1:
        maps["kind"] = 40.0 * kind.movedim(-1, 0)[None]
    return maps


def batch(targets: Targets) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value)[None] for name, value in vars(targets).items()}


fractions = st.floats(0.001, 0.999)  # clear of the border, where rounding decides
nuclei = st.dictionaries(
    st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1)),
    st.tuples(fractions, fractions, st.integers(0, 1)),
    max_size=40,
)


@settings(max_examples=40)
@given(
    nuclei=nuclei,
    cell_px=st.sampled_from([1.0, 4 / 3, 2.0, 4.0]),
    heatmaps=st.sampled_from([1, 2]),
)
def test_decoding_ideal_maps_returns_the_encoded_nuclei(nuclei, cell_px, heatmaps):
    points = np.array(
        [((col + x) * cell_px, (row + y) * cell_px) for (row, col), (x, y, _) in nuclei.items()]
    ).reshape(-1, 2)
    label = np.array([label for *_, label in nuclei.values()], np.uint8)
    radius = np.linspace(1, 5, len(points))

    targets = encode(points, label, cell_px=cell_px, radius=radius, heatmaps=heatmaps)
    maps = ideal_maps(targets)
    [found] = decode_peaks(maps, min_confidence=0.7, cell_px=cell_px)

    order = np.array(sorted(range(len(nuclei)), key=list(nuclei).__getitem__), np.int_)
    assert found.points == pytest.approx(points[order], abs=1e-3)
    assert found.label.tolist() == label[order].tolist()
    assert found.radius == pytest.approx(radius[order], rel=1e-5)
    assert found.confidence == pytest.approx(1)


def test_nuclei_outside_the_window_are_left_out():
    targets = encode([(-0.1, 5), (5, -0.1), (32, 5), (5, 24)], [0, 0, 1, 1])
    assert not targets.centre.any()
    assert not targets.heat.any()


def test_the_heatmap_is_a_gaussian_of_one_cell_in_the_class_of_the_nucleus():
    targets = encode([(10.2, 8.9)], [1])  # column 5, row 4
    assert targets.heat[1, 4, 5] == 1
    assert targets.heat[1, 5, 7] == pytest.approx(math.exp(-5 / 2))
    assert targets.heat[1, 4, 9] == 0  # four cells away
    assert not targets.heat[0].any()
    assert targets.offset[:, 4, 5] == pytest.approx([10.2 / 2 - 5.5, 8.9 / 2 - 4.5])


def test_the_class_stands_in_nine_cells_about_a_nucleus_and_nowhere_else():
    targets = encode([(10.2, 8.9), (13.9, 9)], [1, 0], heatmaps=1)  # columns 5 and 6
    assert targets.kind[3:6, 4:6].tolist() == [[1, 1]] * 3
    assert targets.kind[3:6, 6:8].tolist() == [[0, 0]] * 3  # each cell goes to the nearer one
    assert (targets.kind >= 0).sum() == 12


def test_where_gaussians_meet_the_higher_one_stands():
    targets = encode([(9, 9), (13, 9)], [0, 0])  # columns 4 and 6
    assert targets.heat[0, 4, 5] == pytest.approx(math.exp(-1 / 2))


def test_a_gaussian_is_cut_at_the_border():
    targets = encode([(0, 0), (31.9, 23.9)], [0, 0])
    assert targets.heat[0, 0, 0] == targets.heat[0, -1, -1] == 1
    assert targets.heat[0, 0, 3] == pytest.approx(math.exp(-9 / 2))


def test_of_two_nuclei_in_one_cell_the_last_gives_the_offset():
    targets = encode([(10.2, 8.2), (11.8, 9.8)], [0, 0])
    assert targets.centre.sum() == 1
    assert targets.offset[:, 4, 5] == pytest.approx([0.4, 0.4])


def test_focal_loss_in_closed_form():
    logits = torch.tensor([[[[1.0, -2.0, 0.5]]]])
    heat = torch.tensor([[[[1.0, 0.6, 0.0]]]])

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    centre = (1 - sigmoid(1.0)) ** 2 * math.log(sigmoid(1.0))
    slope = 0.4**4 * sigmoid(-2.0) ** 2 * math.log(1 - sigmoid(-2.0))
    empty = sigmoid(0.5) ** 2 * math.log(1 - sigmoid(0.5))
    assert focal_loss(logits, heat).item() == pytest.approx(-(centre + slope + empty), rel=1e-5)


def test_focal_loss_is_per_nucleus():
    logits, heat = torch.randn(1, 2, 8, 8), torch.rand(1, 2, 8, 8)
    heat[0, 0, 3, 3] = 1
    one = focal_loss(logits, heat)
    two = focal_loss(torch.cat([logits, logits]), torch.cat([heat, heat]))
    assert two.item() == pytest.approx(one.item(), rel=1e-5)


def test_focal_loss_without_nuclei_and_with_extreme_logits_is_finite():
    assert focal_loss(torch.full((1, 1, 2, 2), -100.0), torch.zeros(1, 1, 2, 2)) == 0
    assert torch.isfinite(focal_loss(torch.full((1, 1, 2, 2), 100.0), torch.zeros(1, 1, 2, 2)))


def test_a_perfect_answer_costs_nothing():
    targets = encode([(5, 5), (20.5, 13)], [0, 1], radius=np.array([3.0, 4.0]))
    maps = ideal_maps(targets)
    maps["heat"] = maps["heat"].clamp(-30, 30)
    parts = detection_loss(maps, batch(targets))
    assert parts["offset"] == parts["size"] == 0
    # What is left of the focal loss is what the slopes of the Gaussians cost.
    assert 0 < parts["heat"] < 1


def test_offset_and_size_losses_in_closed_form():
    targets = encode([(5, 5), (20.5, 13)], [0, 1], radius=np.array([3.0, np.nan]))
    maps = ideal_maps(targets)
    maps["heat"] = torch.zeros_like(maps["heat"])
    maps["offset"] = maps["offset"] + 0.25
    maps["size"] = torch.full_like(maps["size"], 2.0, requires_grad=True)
    parts = detection_loss(maps, batch(targets))
    assert parts["offset"].item() == pytest.approx(0.5)  # 0.25 in x and in y
    assert parts["size"].item() == pytest.approx(0.1 * 0.5)  # 2.0 cells for 1.5; one is unknown
    assert parts["loss"].item() == pytest.approx(
        sum(value.item() for name, value in parts.items() if name != "loss")
    )
    parts["loss"].backward()
    assert torch.isfinite(maps["size"].grad).all()
    assert maps["size"].grad.count_nonzero() == 1


def test_class_loss_in_closed_form():
    targets = encode([(5, 5), (20.5, 13)], [0, 1], heatmaps=1)
    maps = ideal_maps(targets) | {"kind": torch.zeros(1, 2, *SHAPE)}
    parts = detection_loss(maps, batch(targets))
    assert parts["kind"].item() == pytest.approx(math.log(2))


def test_losses_without_nuclei_are_zero():
    targets = encode([], [])
    maps = ideal_maps(targets) | {"heat": torch.full((1, 2, *SHAPE), -20.0)}
    maps["kind"] = torch.zeros(1, 2, *SHAPE)
    parts = detection_loss(maps, batch(targets))
    assert parts["offset"] == parts["size"] == parts["kind"] == 0
    assert parts["heat"].item() == pytest.approx(0, abs=1e-6)
