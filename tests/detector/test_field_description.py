"""How fields are described."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from networks import make_network

from wsi_suite.detector.field_description import central_fields, describe_fields
from wsi_suite.detector.model_folder import ModelSpec
from wsi_suite.nuclei.familiarity import ASPECTS, FEATURES, SHARPNESS, SIZE, STAIN
from wsi_suite.staining.deconvolution import combine_stains

pytestmark = pytest.mark.usefixtures("one_torch_thread")

NETWORK = make_network()
SPEC = ModelSpec(name="tiny", network=NETWORK.spec, min_confidence=0.2)
GLASS = np.full((64, 64, 3), 240, np.uint8)


def tissue(seed: int, *, dab: float = 0.5, hematoxylin: float = 0.3) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(64, 64)), (0, 0), 1.0)
    amounts = np.zeros((64, 64, 3), np.float32)
    amounts[..., 0], amounts[..., 1] = hematoxylin + 0.2 * noise, dab + 0.2 * noise
    return combine_stains(amounts)


def described(*fields: np.ndarray) -> dict[str, np.ndarray]:
    return describe_fields(NETWORK, fields, spec=SPEC)


def test_each_field_has_a_row_under_each_aspect_whatever_the_others_are() -> None:
    first, second = tissue(0), tissue(1)
    both, alone = described(first, second), described(second)
    assert sorted(both) == sorted(ASPECTS)
    assert [both[name].shape[1] for name in (STAIN, SIZE, SHARPNESS)] == [6, 1, 2]
    assert both[FEATURES].shape[1] == NETWORK.backbone.feature_info.channels()[1]
    for name in ASPECTS:
        assert len(both[name]) == 2
        assert np.array_equal(both[name][1:], alone[name], equal_nan=True)


def test_glass_and_what_reaches_beyond_the_slide_are_left_out() -> None:
    assert described(GLASS) == {}
    cut = tissue(0)
    cut[:, :20] = 0
    assert described(cut) == {}
    assert len(described(cut, GLASS, tissue(0))[STAIN]) == 1


def test_stain_is_what_it_was_made_of() -> None:
    (row,) = described(tissue(0, dab=0.8, hematoxylin=0.4))[STAIN]
    assert row[:3] == pytest.approx([0.4, 0.8, 0], abs=0.03)


def test_blur_lowers_the_share_of_fine_detail() -> None:
    field = np.clip(tissue(0) + np.random.default_rng(0).normal(0, 6, (64, 64, 3)), 0, 255)
    field = field.astype(np.uint8)
    sharp, blurred = described(field, cv2.GaussianBlur(field, (0, 0), 1.5))[SHARPNESS]
    assert (blurred < sharp - 0.5).all()


def test_size_is_not_known_without_nuclei_or_where_none_is_predicted() -> None:
    strict = SPEC.model_copy(update={"min_confidence": 1.0})
    assert np.isnan(describe_fields(NETWORK, [tissue(0)], spec=strict)[SIZE]).all()
    plain = make_network(sizes=False)
    spec = SPEC.model_copy(update={"network": plain.spec})
    found = describe_fields(plain, [tissue(0)], spec=spec)
    assert np.isnan(found[SIZE]).all()
    assert np.isfinite(found[FEATURES]).all()


def test_models_of_format_1_are_described_too() -> None:
    early = make_network(stem_pool=True, class_map=False, sizes=False, stages=1)
    spec = SPEC.model_copy(update={"network": early.spec})
    assert np.isfinite(describe_fields(early, [tissue(0)], spec=spec)[FEATURES]).all()


def test_fields_lie_side_by_side_about_the_middle() -> None:
    picture = np.zeros((150, 70, 3), np.uint8)
    picture[11:139, 3:67] = 9
    fields = central_fields(picture, 64)
    assert [field.shape for field in fields] == [(64, 64, 3)] * 2
    assert all((field == 9).all() for field in fields)
    assert central_fields(picture, 80) == []
