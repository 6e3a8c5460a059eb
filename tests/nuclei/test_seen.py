"""What a model has seen, and results that are unlike it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from wsi_suite.config import ScoreSettings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.seen import CONFIDENCE, SeenFields, compare_fields, learn_fields
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.summary import summarise

DAB, AREA = "Nucleus: DAB OD mean", "Nucleus: Area µm^2"
MPP = (0.5, 0.5)


def field(
    seed: int, *, x_um: float = 0, dab: float = 0.8, confidence: float = 0.5, count: int = 60
) -> Nuclei:
    """Draw the nuclei of one field of 100 um."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.05, (3, count))
    return Nuclei(
        x=(x_um + rng.uniform(0, 100, count)) / MPP[0],
        y=rng.uniform(0, 100, count) / MPP[1],
        confidence=np.clip(confidence + noise[0], 0.31, 1).astype(np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Epithelium", "Stroma"),
        measurements={
            DAB: (dab + noise[1]).astype(np.float32),
            "Nucleus: Hematoxylin OD mean": (0.4 + noise[2]).astype(np.float32),
            AREA: np.full(count, 22 + seed % 3, np.float32),
        },
    )


def joined(*fields: Nuclei) -> Nuclei:
    from wsi_suite.nuclei.table import concatenate

    return concatenate(fields)


SEEN = learn_fields((field(seed) for seed in range(50)), mpp=MPP, min_confidence=0.3)
assert SEEN is not None


def test_medians_of_tiles_are_remembered_without_their_tails() -> None:
    assert SEEN.medians[DAB] == pytest.approx((0.785, 0.815), abs=0.012)
    assert SEEN.medians[AREA] == (22, 24)
    assert SEEN.medians[CONFIDENCE][1] == 1, "to be sure is no fault"
    assert learn_fields([Nuclei.empty(("a",))], mpp=MPP, min_confidence=0.3) is None


def test_fields_like_those_of_training_are_inside() -> None:
    nuclei = joined(*(field(seed, x_um=100 * seed) for seed in range(100, 110)))
    unseen = compare_fields(nuclei, SEEN, mpp=MPP)
    assert unseen.fields == 10
    assert not unseen.mostly


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dab": 0.1}, "less DAB"),
        ({"dab": 1.5}, "more DAB"),
        ({"confidence": 0.35}, "a lower confidence"),
    ],
)
def test_other_fields_are_outside_for_a_reason(change, reason) -> None:
    unseen = compare_fields(field(1, **change), SEEN, mpp=MPP)
    assert unseen == (1, 1, (reason,))


def test_nuclei_below_the_models_threshold_do_not_change_the_verdict() -> None:
    weak = replace(field(2), confidence=np.full(60, 0.1, np.float32))
    assert compare_fields(joined(field(1), weak), SEEN, mpp=MPP) == compare_fields(
        field(1), SEEN, mpp=MPP
    )


def test_few_nuclei_are_one_field_or_none() -> None:
    scattered = joined(*(field(seed, x_um=100 * seed, count=4, dab=0.1) for seed in range(5)))
    assert compare_fields(scattered, SEEN, mpp=MPP).fields == 1
    assert compare_fields(field(1, count=9), SEEN, mpp=MPP).fields == 0
    assert compare_fields(Nuclei.empty(("a",)), SEEN, mpp=MPP).fields == 0


def test_discs_and_values_that_could_not_be_measured_are_left_out() -> None:
    discs = replace(field(1), measurements={"Disc: DAB OD mean": field(1).measurements[DAB]})
    assert not compare_fields(discs, SEEN, mpp=MPP).mostly
    nothing = {name: np.full(60, np.nan, np.float32) for name in field(1).measurements}
    assert not compare_fields(replace(field(1), measurements=nothing), SEEN, mpp=MPP).mostly


def warnings_of(nuclei: Nuclei, seen: SeenFields | None, *, rois: list[Roi] | None = None) -> str:
    summary = summarise(
        nuclei, ScoreSettings(), mpp=MPP, tissue_area_mm2=None, rois=rois, seen=seen
    )
    return " ".join(summary.warnings)


def test_a_summary_says_so_where_most_is_unlike() -> None:
    like, other = field(1), field(2, dab=0.1)
    assert "unlike" not in warnings_of(like, SEEN)
    assert "unlike" not in warnings_of(other, None), "the model does not say what it has seen"
    assert (
        "Most of what is scored is unlike what the model was trained on (1 of 1 fields of 100 um: "
        "less DAB)"
    ) in warnings_of(other, SEEN)
    moved = field(2, x_um=100, dab=0.1)
    rois = [
        Roi("left", None, MultiPolygon([box(0, 0, 200, 200)])),
        Roi("right", None, MultiPolygon([box(200, 0, 400, 200)])),
    ]
    both = warnings_of(joined(like, moved), SEEN, rois=rois)
    assert "In 1 of 2 regions (right) most of the tissue is unlike" in both


def test_regions_of_one_name_are_compared_each_for_itself() -> None:
    nuclei = joined(field(1), field(2, x_um=100, dab=0.1))
    rois = [
        Roi("Tumor", None, MultiPolygon([box(200, 0, 400, 200)])),
        Roi("Tumor", None, MultiPolygon([box(0, 0, 200, 200)])),
    ]
    told = warnings_of(nuclei, SEEN, rois=rois)
    assert (
        "(Tumor) most of the tissue is unlike what the model was trained on (1 of 1 fields" in told
    )


@pytest.mark.slow
@pytest.mark.realdata
def test_the_bundled_model_knows_its_held_out_run_and_no_other_stain(real_data: Path) -> None:
    from wsi_suite.detector.model_folder import find_model, load_network
    from wsi_suite.training.labelled import load_tiles, tiles_of_runs
    from wsi_suite.training.tiles import tables_of_tiles

    model = find_model("endonuke-resnet18")
    seen, network = model.spec.seen, load_network(model)
    assert seen is not None
    tiles = tiles_of_runs(load_tiles(real_data / "endonuke", model.spec.labels), ["321-364"])
    tables = tables_of_tiles(network, tiles, spec=model.spec)
    outside = [compare_fields(table, seen, mpp=(1, 1)).outside for table in tables]
    assert sum(outside) <= 2, "of 17"
