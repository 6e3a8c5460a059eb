"""Scores of a slide, as summary.json holds them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, box

from wsi_suite.config import ScoreSettings
from wsi_suite.errors import ConfigError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.quality import QualityKind, SlideQuality
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.slide_scores import SlideScores
from wsi_suite.scoring.summary import summarise

CALIBRATED = ScoreSettings(thresholds_od=(0.1, 0.3, 0.5), marker="ER", headline_class="Epithelium")


def table(dab_od: list[float], *, label: list[int]) -> Nuclei:
    """Return nuclei at x = 0.5, 1.5, ... on one row."""
    count = len(dab_od)
    return Nuclei(
        x=np.arange(count) + 0.5,
        y=np.full(count, 0.5),
        confidence=np.ones(count, np.float32),
        label=np.array(label, np.uint8),
        classes=("Stroma", "Epithelium"),
        measurements={"Nucleus: DAB OD mean": np.array(dab_od, np.float32)},
    )


def summary(nuclei: Nuclei, settings: ScoreSettings = CALIBRATED, **options: Any) -> dict[str, Any]:
    options = {"mpp": (0.5, 0.5), "tissue_area_mm2": 2.0} | options
    found = summarise(nuclei, settings, **options)
    content = found.as_json()
    assert SlideScores.model_validate(json.loads(json.dumps(content, allow_nan=False))) == found
    return content


def told(found: dict[str, Any]) -> list[str]:
    """Return the warnings but that tables of tests have few nuclei."""
    return [warning for warning in found["warnings"] if "a score should rest on" not in warning]


def test_every_class_and_all_together() -> None:
    found = summary(table([0.0, 0.2, 0.4, 0.9, 0.0, np.nan], label=[1, 1, 1, 1, 0, 0]))
    assert found["headline"] == {
        "name": "Epithelium: H-score",
        "class": "Epithelium",
        "value": 150.0,
        "reason": None,
    }
    assert found["h_scores"] == {
        "Stroma: H-score": 0.0,
        "Epithelium: H-score": 150.0,
        "Epithelium + Stroma: H-score": 120.0,
    }
    assert found["scores"]["Epithelium"].pop("certainty")
    assert found["scores"]["Epithelium"] == {
        "nuclei": 4,
        "not_measurable": 0,
        "Negative": 1,
        "1+": 1,
        "2+": 1,
        "3+": 1,
        "density_per_mm2": 2.0,
        "positive_percent": 75.0,
        "h_score": 150.0,
        "allred": {"proportion": 5, "intensity": 2, "score": 7},
        "irs": {"proportion": 3, "intensity": 2, "score": 6},
        "reason": None,
    }
    stroma = found["scores"]["Stroma"]
    assert (stroma["nuclei"], stroma["not_measurable"], stroma["positive_percent"]) == (2, 1, 0.0)
    assert (stroma["h_score"], stroma["reason"]) == (0.0, None)
    assert stroma["allred"] == {"proportion": 0, "intensity": 0, "score": 0}
    assert found["measurement"] == "Nucleus: DAB OD mean"
    assert found["scored_area_mm2"] == found["tissue_area_mm2"] == 2.0
    assert found["regions"] == []


def test_no_nuclei_give_null_and_the_reason() -> None:
    found = summary(Nuclei.empty(("Stroma", "Epithelium")), tissue_area_mm2=0.0)
    assert found["headline"]["value"] is None
    assert found["headline"]["reason"] == "no nuclei"
    assert found["scores"]["Epithelium"]["density_per_mm2"] is None
    assert found["scores"]["Epithelium"]["positive_percent"] is None
    assert found["measurement"] is None


def test_an_unknown_area_gives_no_density() -> None:
    found = summary(table([0.2], label=[1]), tissue_area_mm2=None)
    assert found["scores"]["Epithelium"]["density_per_mm2"] is None


def test_without_a_headline_class_all_classes_stand_first() -> None:
    found = summary(table([0.2, 0.4], label=[0, 1]), ScoreSettings())
    assert found["headline"]["name"] == "Epithelium + Stroma: H-score"
    assert found["headline"]["value"] == 150.0


def test_a_headline_class_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Epitelium.*did you mean 'Epithelium'"):
        summary(table([0.2], label=[1]), ScoreSettings(headline_class="Epitelium"))


def region(name: str, *, left: float, right: float, class_name: str | None = None) -> Roi:
    return Roi(name, class_name, MultiPolygon([box(left, 0, right, 1000)]))


def test_regions_are_reported_each_and_their_union_once() -> None:
    nuclei = table([0.9, 0.9, 0.2, 0.9], label=[1, 1, 1, 1])
    regions = [
        region("A", left=1, right=3, class_name="Tumor"),
        region("B", left=2, right=4),
        region("C", left=5, right=6, class_name="Ignore*"),
        region("D", left=1000, right=2000),
    ]
    found = summary(nuclei, rois=regions)
    assert [(each["name"], each["class"]) for each in found["regions"]] == [
        ("A", "Tumor"),
        ("B", None),
        ("D", None),
    ]
    first, second, empty = found["regions"]
    assert first["h_scores"]["Epithelium: H-score"] == 200.0
    assert second["scores"]["Epithelium"]["nuclei"] == 2
    assert empty["scores"]["Epithelium"]["reason"] == "no nuclei"
    assert first["area_mm2"] == pytest.approx(2 * 1000 * 0.25e-6)
    assert found["scores"]["Epithelium"]["nuclei"] == 3
    assert found["headline"]["value"] == pytest.approx(700 / 3)
    assert found["scored_area_mm2"] == pytest.approx((3 + 1000) * 1000 * 0.25e-6)
    assert found["tissue_area_mm2"] == 2.0


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (CALIBRATED.model_copy(update={"marker": None}), {}, "marker is not set"),
        (CALIBRATED.model_copy(update={"marker": "other"}), {}, "membranous or cytoplasmic"),
        (ScoreSettings(marker="PR"), {}, "0.2 / 0.4 / 0.6 are the defaults"),
        (CALIBRATED, {"glass_dab_od": 0.08}, "optical density of 0.08"),
    ],
)
def test_what_users_should_know_is_said(
    settings: ScoreSettings, options: dict[str, Any], words: str
) -> None:
    (warning,) = told(summary(table([0.2, 0.4], label=[1, 0]), settings, **options))
    assert words in warning


def test_thresholds_that_a_laboratory_gave_are_not_called_defaults() -> None:
    given = ScoreSettings(marker="PR", thresholds_od=(0.2, 0.4, 0.6))
    found = summary(table([0.2, 0.4], label=[1, 0]), given)
    assert (found["thresholds_origin"], told(found)) == ("user", [])
    assert summary(table([0.2], label=[1]), ScoreSettings())["thresholds_origin"] == "default"


def test_saturation_is_said_above_seventy_percent() -> None:
    dab_od = [0.9] * 7 + [0.2] * 3
    assert told(summary(table(dab_od, label=[1] * 10))) == []
    (warning,) = told(summary(table([*dab_od, 0.9], label=[1] * 11)))
    assert warning.startswith("73 % of the nuclei are 3+")


def test_nuclei_that_could_not_be_measured_are_said() -> None:
    (warning,) = told(summary(table([0.2, np.nan], label=[1, 1])))
    assert warning.startswith("1 of 2 nuclei could not be measured")


def test_clean_glass_and_a_nuclear_marker_need_no_warning() -> None:
    assert told(summary(table([0.2], label=[1]), glass_dab_od=0.05)) == []


def test_a_slide_without_tissue_says_so() -> None:
    found = summary(table([], label=[]), tissue_area_mm2=0.0)
    assert found["warnings"][0].startswith("No tissue was found")
    region = Roi("Tumour", None, MultiPolygon([box(0, 0, 9, 9)]))
    inside = summary(table([], label=[]), tissue_area_mm2=0.0, rois=[region])
    assert not any("tissue" in warning for warning in inside["warnings"])


def test_regions_count_on_the_slide_and_by_their_tissue() -> None:
    tissue = MultiPolygon([box(0, 0, 4000, 1000)])
    rois = [
        Roi("edge", None, MultiPolygon([box(3800, 800, 4200, 1200)])),
        Roi("half", None, MultiPolygon([box(0, 700, 1000, 1700)])),
        Roi("glass", None, MultiPolygon([box(0, 1500, 100, 1600)])),
        Roi("inner", None, MultiPolygon([box(0, 0, 1000, 1000)])),
    ]
    found = summary(
        table([0.2, 0.2], label=[1, 1]),
        tissue=tissue,
        tissue_area_mm2=1.0,
        size_px0=(4000, 2000),
        rois=rois,
    )
    areas = [(region["area_mm2"], region["tissue_area_mm2"]) for region in found["regions"]]
    assert areas == [(0.02, 0.01), (0.25, 0.075), (0.0025, 0.0), (0.25, 0.25)]
    assert found["regions"][3]["scores"]["Epithelium"]["density_per_mm2"] == 2 / 0.25
    assert found["regions"][2]["scores"]["Epithelium"]["density_per_mm2"] is None
    assert found["scored_area_mm2"] == pytest.approx(0.02 + 0.25 + 0.25 - 0.075)
    assert found["scored_tissue_mm2"] == pytest.approx(0.26)
    assert found["scores"]["Epithelium"]["density_per_mm2"] == pytest.approx(2 / 0.26)
    no_tissue, partly, *_ = found["warnings"]
    assert no_tissue.startswith("No tissue was found in 1 of 4 regions (glass), ")
    assert partly.startswith("Less than half of the area was found to be tissue in 1 of 4 regions")


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (CALIBRATED, "ER positive"),
        (CALIBRATED.model_copy(update={"marker": "PR"}), "PR positive"),
        (CALIBRATED.model_copy(update={"marker": "Ki-67"}), None),
        (CALIBRATED.model_copy(update={"breast_guidelines": False}), None),
    ],
)
def test_receptors_have_a_status_if_they_are_the_marker(
    settings: ScoreSettings, status: str | None
) -> None:
    found = summary(table([0.2, 0.0], label=[1, 0]), settings)["receptor"]
    assert (found and (found["status"], found["class"])) == (status and (status, "Epithelium"))


def test_controls_are_asked_for_where_few_nuclei_are_positive() -> None:
    found = summary(table([0.2] + [0.0] * 9, label=[1] * 10))
    assert found["receptor"]["status"] == "ER Low Positive"
    (warning,) = told(found)
    assert warning.startswith("ER is positive in 10.0 % of the nuclei of Epithelium: from 0 %")


def crowd(count: int, *, positive: float = 0.3, seed: int = 0) -> Nuclei:
    """Return nuclei of one class in a square of 2000 px, the more positive the farther right."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 2000, (2, count))
    dab_od = np.where(rng.random(count) < 2 * positive * x / 2000, 0.9, 0.0).astype(np.float32)
    return Nuclei(
        x=x,
        y=y,
        confidence=np.ones(count, np.float32),
        label=np.ones(count, np.uint8),
        classes=("Stroma", "Epithelium"),
        measurements={"Nucleus: DAB OD mean": dab_od},
    )


def test_hot_spots_tell_the_figures_of_the_headline_class_in_them() -> None:
    nuclei = crowd(4000)
    nuclei.measurements["Nucleus: DAB OD mean"][::50] = np.nan
    nuclei.label[::7] = 0
    found = summary(nuclei)["hot_spots"]
    assert list(found) == ["Epithelium", "Epithelium: Positive"]
    for spots in found.values():
        assert spots["reason"] is None
        assert 1 <= len(spots["spots"]) <= 3
        for spot in spots["spots"]:
            away = np.hypot(nuclei.x - spot["x_px0"], nuclei.y - spot["y_px0"]) * 0.5
            held = (away <= spot["radius_um"]) & (nuclei.label == 1)
            dab_od = nuclei.measurements["Nucleus: DAB OD mean"][held]
            figures = spot["figures"]
            assert figures["nuclei"] == held.sum() >= 500
            assert figures["not_measurable"] == np.isnan(dab_od).sum()
            assert figures["3+"] == (dab_od > 0.5).sum()
            assert figures["density_per_mm2"] == held.sum() / spot["area_mm2"]
    hottest = found["Epithelium: Positive"]["spots"][0]
    assert hottest["figures"]["nuclei"] - hottest["figures"]["not_measurable"] == 500
    assert (
        hottest["figures"]["positive_percent"]
        > summary(nuclei)["scores"]["Epithelium"]["positive_percent"]
    )


@pytest.mark.parametrize(
    ("nuclei", "reasons"),
    [
        (
            table([0.2, np.nan], label=[1, 1]),
            (
                "2 nuclei of Epithelium, fewer than the 500 of a hot-spot",
                "1 measured nuclei of Epithelium, fewer than the 500 of a hot-spot",
            ),
        ),
        (crowd(600, positive=0), (None, "no positive nuclei of Epithelium")),
    ],
)
def test_without_hot_spots_there_is_a_reason(
    nuclei: Nuclei, reasons: tuple[str | None, ...]
) -> None:
    found = summary(nuclei)["hot_spots"]
    assert tuple(spots["reason"] for spots in found.values()) == reasons
    assert [not spots["spots"] for spots in found.values()] == [bool(reason) for reason in reasons]
    assert summary(nuclei, CALIBRATED.model_copy(update={"hot_spots": 0}))["hot_spots"] == {}


def test_hot_spots_lie_inside_the_regions() -> None:
    region = Roi("R", None, MultiPolygon([box(300, 300, 900, 900)]))
    found = summary(crowd(8000), rois=[region], size_px0=(2000, 600))["hot_spots"]
    assert found["Epithelium"]["reason"] == (
        "no circle of 500 nuclei of Epithelium lies wholly inside the scored area"
    )
    few = CALIBRATED.model_copy(update={"hot_spot_nuclei": 50})
    for spots in summary(crowd(8000), few, rois=[region], size_px0=(2000, 600))[
        "hot_spots"
    ].values():
        for spot in spots["spots"]:
            radius = spot["radius_um"] / 0.5
            assert 300 <= spot["x_px0"] - radius <= spot["x_px0"] + radius <= 900
            assert 300 <= spot["y_px0"] - radius <= spot["y_px0"] + radius <= 600


def test_lumina_do_not_bound_hot_spots_but_the_rim_of_tissue_does() -> None:
    nuclei = crowd(4000)
    rim = box(0, 0, 2000, 2000)
    lumina = [box(x, y, x + 20, y + 20) for x in range(50, 2000, 100) for y in range(50, 2000, 100)]
    holed = rim.difference(MultiPolygon(lumina))
    with_lumina, without = (
        summary(nuclei, tissue=MultiPolygon([tissue]))["hot_spots"] for tissue in (holed, rim)
    )
    assert with_lumina == without
    strips = MultiPolygon([box(0, y, 2000, y + 90) for y in range(0, 2000, 100)])
    assert summary(nuclei, tissue=strips)["hot_spots"]["Epithelium"]["spots"] == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (CALIBRATED, False),
        (CALIBRATED.model_copy(update={"marker": "Ki-67"}), True),
        (CALIBRATED.model_copy(update={"marker": "Ki-67", "breast_guidelines": False}), False),
    ],
)
def test_ki67_is_scored_by_its_group_if_it_is_the_marker(
    settings: ScoreSettings, told: bool
) -> None:
    found = summary(crowd(4000), settings)
    assert (found["ki67"] is not None) == told
    if told:
        figures, hottest = found["ki67"], found["hot_spots"]["Epithelium: Positive"]["spots"][0]
        assert figures["index_percent"] == found["scores"]["Epithelium"]["positive_percent"]
        assert figures["hot_spot_percent"] == hottest["figures"]["positive_percent"]
        assert len(figures["fields"]) == 4
        assert figures["class"] == "Epithelium"


def test_order_of_the_table_changes_no_figure() -> None:
    nuclei = crowd(3000)
    shuffled = nuclei.take(np.random.default_rng(5).permutation(len(nuclei)))
    for marker in ("ER", "Ki-67"):
        settings = CALIBRATED.model_copy(update={"marker": marker})
        assert summary(shuffled, settings) == summary(nuclei, settings)


def test_ignored_areas_are_cut_out_of_counts_areas_and_densities() -> None:
    nuclei = table([0.9] * 6, label=[1] * 6)
    tissue = MultiPolygon([box(0, 0, 6, 500)])
    drawn = [
        region("A", left=0, right=4),
        region("B", left=2, right=6),
        region("C", left=3, right=5, class_name="Ignore*"),
    ]
    mm2 = 1000 * 0.25e-6
    found = summary(nuclei, tissue=tissue, rois=drawn, size_px0=(6, 1000))
    assert [part["name"] for part in found["regions"]] == ["A", "B"]
    assert [part["area_mm2"] / mm2 for part in found["regions"]] == pytest.approx([3, 2])
    assert [part["tissue_area_mm2"] / mm2 for part in found["regions"]] == pytest.approx([1.5, 1])
    assert [part["scores"]["Epithelium"]["nuclei"] for part in found["regions"]] == [3, 2]
    assert found["scores"]["Epithelium"]["nuclei"] == 4
    assert found["scored_area_mm2"] == pytest.approx(4 * mm2)
    assert found["scored_tissue_mm2"] == pytest.approx(2 * mm2)
    assert found["ignored_area_mm2"] == pytest.approx(2 * mm2)
    assert found["scores"]["Epithelium"]["density_per_mm2"] == pytest.approx(4 / (2 * mm2))


def test_where_all_regions_are_ignored_all_other_tissue_is_scored() -> None:
    nuclei = table([0.9] * 6, label=[1] * 6)
    tissue = MultiPolygon([box(0, 0, 6, 500)])
    drawn = [region("C", left=3, right=5, class_name="Ignore*")]
    mm2 = 1000 * 0.25e-6
    found = summary(nuclei, tissue=tissue, tissue_area_mm2=3 * mm2, rois=drawn, size_px0=(6, 1000))
    assert found["regions"] == []
    assert found["scores"]["Epithelium"]["nuclei"] == 4
    assert found["tissue_area_mm2"] == pytest.approx(3 * mm2)
    assert found["scored_area_mm2"] == found["scored_tissue_mm2"] == pytest.approx(2 * mm2)
    assert found["ignored_area_mm2"] == pytest.approx(2 * mm2)
    assert found["scores"]["Epithelium"]["density_per_mm2"] == pytest.approx(4 / (2 * mm2))
    unknown = summary(nuclei, rois=drawn)
    assert unknown["scored_area_mm2"] is None
    assert unknown["scores"]["Epithelium"]["density_per_mm2"] is None
    assert summary(nuclei)["ignored_area_mm2"] is None


def test_where_everything_is_ignored_that_is_said() -> None:
    tissue = MultiPolygon([box(0, 0, 6, 500)])
    drawn = [region("C", left=0, right=6, class_name="Ignore*")]
    found = summary(table([0.9] * 6, label=[1] * 6), tissue=tissue, rois=drawn)
    assert (found["headline"]["value"], found["scored_tissue_mm2"]) == (None, 0)
    assert "All tissue lies in regions of class Ignore*: nothing is scored." in found["warnings"]
    assert not any("No tissue was found" in warning for warning in found["warnings"])


def test_hot_spots_keep_out_of_ignored_areas() -> None:
    nuclei = crowd(8000)
    ignored = box(1200, 0, 1500, 2000)
    drawn = [Roi("fold", "Ignore*", MultiPolygon([ignored]))]
    tissue = MultiPolygon([box(0, 0, 2000, 2000)])
    found = summary(nuclei, tissue=tissue, rois=drawn, size_px0=(2000, 2000))["hot_spots"]
    for spots in found.values():
        assert spots["spots"]
        for spot in spots["spots"]:
            radius = spot["radius_um"] / 0.5
            assert not 1200 - radius < spot["x_px0"] < 1500 + radius


@pytest.mark.parametrize("rois", [None, [Roi("R", None, MultiPolygon([box(0, 0, 2000, 2000)]))]])
def test_hot_spots_keep_out_of_what_is_out_of_focus_if_that_is_left_out(
    rois: list[Roi] | None,
) -> None:
    """A field in the middle: of the tissue it is a hole, and lumina do not bound a circle."""
    nuclei, whole = crowd(8000), box(0, 0, 2000, 2000)
    field = box(1200, 600, 1700, 1100)
    blurred = QualityKind(mpp=1, sampled_share=1, judged_share=1, wkt=MultiPolygon([field]).wkt)
    pen = QualityKind(reason="not looked for")
    inside = shapely.contains_xy(field, nuclei.points)
    told = {}
    for excluded in ((), ("focus",)):
        found = summary(
            nuclei.take(np.flatnonzero(~inside)) if excluded else nuclei,
            tissue=MultiPolygon([whole.difference(field) if excluded else whole]),
            rois=rois,
            size_px0=(2000, 2000),
            quality=SlideQuality(focus=blurred, pen=pen, excluded=excluded),
        )["hot_spots"]
        told[excluded] = [
            Point(spot["x_px0"], spot["y_px0"]).distance(field) >= spot["radius_um"] / 0.5
            for spots in found.values()
            for spot in spots["spots"]
        ]
    assert not all(told[()]), "the field is among the hottest places"
    assert told["focus",]
    assert all(told["focus",])
