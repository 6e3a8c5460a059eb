"""What notebooks show of nuclei, slides and results."""

from __future__ import annotations

import base64
import doctest
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from bench import Bench
from PIL import Image

import wsi_suite as ws
from wsi_suite import cards, colours
from wsi_suite.cards import PICTURE_PX, Row, card, first_few
from wsi_suite.runs.outcome import Outcome, Outcomes
from wsi_suite.runs.state import State
from wsi_suite.slides.pictures import as_slide

WHOLE = {"div", "table", "tr", "td", "th", "thead", "tbody", "span"}


class Page(HTMLParser):
    """Text of a card; every element has to be closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in WHOLE | {"img"}, f"an element that no card has: {tag}"
        names = {"style", "src", "alt", "width", "height"}
        assert {name for name, _ in attrs} <= names
        self.open += [tag] if tag in WHOLE else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def picture_in(html: str) -> np.ndarray:
    """Return the picture of a card; it has one at most."""
    (source,) = re.findall(r'src="data:image/\w+;base64,([^"]*)"', html)
    with Image.open(io.BytesIO(base64.b64decode(source))) as image:
        assert max(image.size) <= PICTURE_PX
        return np.asarray(image)


def nuclei_at(
    points: list[tuple[float, float]], label: list[int], classes: tuple[str, ...] = ("A", "B")
) -> ws.Nuclei:
    xy = np.array(points, np.float64).reshape(-1, 2)
    return ws.Nuclei(
        xy[:, 0], xy[:, 1], np.ones(len(xy), np.float32), np.array(label, np.uint8), classes
    )


@pytest.mark.parametrize("module", [cards, colours])
def test_examples_are_right(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_texts_are_escaped_and_elements_closed() -> None:
    html = card("<b>T</b>", [Row("a&b", "<i>", "#ff0000")], remarks=['"quoted" <script>'])
    assert Page(html).texts == ["<b>T</b>", "a&b", "<i>", '"quoted" <script>']
    assert first_few(list("abc"), most=3) == ["a", "b", "c"]


def test_classes_beyond_the_named_colours_have_their_own() -> None:
    assert len({colours.class_colour(index) for index in range(24)}) == 24


def test_nuclei_are_counted_by_class_those_with_most_first() -> None:
    nuclei = nuclei_at([(0, 0), (5, 5), (9, 9)], [1, 0, 1], ("Stroma", "Epithelium"))
    assert repr(nuclei) == "<Nuclei: 3 (2 Epithelium, 1 Stroma), points>"
    texts = Page(nuclei._repr_html_()).texts
    assert texts[:5] == ["3 nuclei", "Epithelium", "2 (66.7 %)", "Stroma", "1 (33.3 %)"]


def test_pixel_size_and_form_are_told() -> None:
    nuclei = ws.Nuclei(
        *(np.ones(1234), np.ones(1234), np.ones(1234, np.float32), np.zeros(1234, np.uint8)),
        ("Stroma",),
        outline=np.ones((1234, 16), np.float32),
        mpp=(0.25, 0.25),
    )
    assert repr(nuclei) == "<Nuclei: 1,234 (1,234 Stroma), outlines, 0.25 um/px>"


def test_picture_shows_nuclei_where_they_are_in_the_colours_of_their_classes() -> None:
    html = nuclei_at([(100, 50), (1100, 50), (1100, 550)], [0, 1, 0])._repr_html_()
    pixels = picture_in(html)
    assert pixels.shape == (120, 240, 4)  # 12 x 24 cells of 10 pixels
    shown = {(0, 0): 0, (0, 23): 1, (11, 23): 0}
    for row in range(12):
        for column in range(24):
            cell = pixels[10 * row + 5, 10 * column + 5]
            if (row, column) in shown:
                colour = bytes(cell[:3].tolist()).hex()
                assert f"#{colour}" == colours.class_colour(shown[row, column])
                assert cell[3] == 255
            else:
                assert cell[3] == 0


def test_many_nuclei_of_many_classes_fit_into_a_card() -> None:
    rng = np.random.default_rng(0)
    classes = tuple(f"class {n} <b>" for n in range(40))
    nuclei = nuclei_at(
        list(map(tuple, rng.uniform(0, 1e5, (40_000, 2)))), list(range(40)) * 1000, classes
    )
    assert repr(nuclei).endswith("36,000 of 36 more classes), points>")
    texts = Page(nuclei._repr_html_()).texts
    assert "30 more classes" in texts
    assert "30,000 (75 %)" in texts


def test_tables_with_gaps_are_shown_nevertheless() -> None:
    assert repr(ws.Nuclei.empty(("A",))) == "<Nuclei: none>"
    assert "0 nuclei" in Page(ws.Nuclei.empty(("A",))._repr_html_()).texts
    nowhere = nuclei_at([(np.nan, 1), (np.inf, 2)], [0, 3], ())
    assert repr(nowhere) == "<Nuclei: 2 (1 class 0, 1 class 3), points>"
    assert "img" not in nowhere._repr_html_()
    assert picture_in(nuclei_at([(7, 7)], [0], ("",))._repr_html_()).shape == (10, 10, 4)


def test_slide_shows_size_levels_and_thumbnail(bench: Bench) -> None:
    with ws.open_slide(bench.slide) as slide:
        name = bench.slide.name
        assert repr(slide) == f"<Slide: {name}, 600 x 560 px, 0.25 um/px, 3 levels, open>"
        html = slide._repr_html_()
        texts = Page(html).texts
        assert "600 x 560 px, 0.15 x 0.14 mm" in texts
        assert "3 (downsampled by 1, 4, 16.22)" in texts  # 600 px in 37
        assert str(bench.slide.parent) not in html
        assert picture_in(html).shape == (224, 240, 3)
    assert repr(slide).endswith("closed>")
    assert picture_in(slide._repr_html_()).shape == (224, 240, 3)  # as it was seen


def test_closed_slide_has_no_picture_and_is_not_read(bench: Bench) -> None:
    slide = ws.open_slide(bench.slide)
    slide.close()
    html = slide._repr_html_()
    assert "no picture: the slide is closed" in Page(html).texts
    assert "img" not in html
    with pytest.raises(ws.WsiSuiteError, match=r"größer.tif: the slide is closed; open it again"):
        slide.thumbnail(100)


def test_slide_that_cannot_be_read_tells_why_in_its_card(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(f"{bench.slide}: gone\nfar away")

    with ws.open_slide(bench.slide) as slide:
        monkeypatch.setattr(slide, "_reader", slide._reader)
        monkeypatch.setattr(type(slide._reader), "read", fail)
        html = slide._repr_html_()
        assert f"no picture: {bench.slide.name}: gone" in Page(html).texts


def test_slide_without_small_levels_is_not_read_whole_for_a_picture() -> None:
    class Huge(np.ndarray):
        """Pixels that nobody may read."""

        def __getitem__(self, key: object) -> object:
            raise AssertionError(key)

    pixels = np.broadcast_to(np.uint8(0), (9000, 9000, 3)).view(Huge)
    texts = Page(as_slide(pixels, mpp=0.5)._repr_html_()).texts
    assert "no picture: the file has no small level; thumbnail() reads the whole slide for one" in (
        texts
    )


def test_very_wide_slide_has_a_picture() -> None:
    html = as_slide(np.zeros((3, 3000, 3), np.uint8), mpp=0.5)._repr_html_()
    assert picture_in(html).shape == (1, 240, 3)


def test_outcome_shows_scores_and_the_overview(bench: Bench, tmp_path: Path) -> None:
    outcome = bench.run_one(tmp_path / "out")
    summary = outcome.summary
    assert summary is not None
    headline = summary.headline
    name = bench.slide.name
    line = f"<Outcome: {name}, done, H-score {headline.value:.0f} of {headline.class_name}>"
    assert repr(outcome) == line
    html = outcome._repr_html_()
    texts = Page(html).texts
    assert texts[:3] == [name, "state", "done"]
    assert "model" in texts
    pixels = picture_in(html)
    assert min(pixels.shape[:2]) > 100
    assert str(bench.slide.parent) not in html
    assert outcome.folder is not None
    (outcome.folder / "overview.png").write_bytes(b"PNG")
    assert "img" not in outcome._repr_html_()
    (outcome.folder / "overview.png").unlink()
    assert "img" not in outcome._repr_html_()

    again = ws.rescore_batch([outcome, outcome])
    assert isinstance(again, Outcomes)
    assert "2 slides: 2 done" in Page(again._repr_html_()).texts


def test_outcomes_are_a_list_shown_as_a_table(tmp_path: Path) -> None:
    slide = tmp_path / "Meier 1950" / "<B12>.svs"
    failed = Outcome(slide, None, State.FAILED, error=ws.WsiSuiteError(f"{slide}: no slide"))
    assert repr(failed) == "<Outcome: <B12>.svs, failed, <B12>.svs: no slide>"
    assert "Meier" not in failed._repr_html_()
    outcomes = Outcomes([failed] * 60)
    assert outcomes == [failed] * 60
    texts = Page(outcomes._repr_html_()).texts
    assert texts[0] == "60 slides: 60 failed"
    assert texts.count("<B12>.svs: no slide") == 50
    assert "10 more" in texts
    assert "Meier" not in outcomes._repr_html_()
    assert Page(Outcomes()._repr_html_()).texts[0] == "0 slides"


def test_analysis_shows_scores_counts_and_where_nuclei_are(bench: Bench) -> None:
    found = ws.analyse(bench.slide, settings=bench.settings())
    assert repr(found).startswith(f"<Analysed: {bench.slide.name}, {len(found)} nuclei, ")
    html = found._repr_html_()
    texts = Page(html).texts
    for label, name in enumerate(found.nuclei.classes):
        count = int(np.sum(found.nuclei.label == label))
        assert texts[texts.index(name) + 1].startswith(f"{count:,} (")
    assert picture_in(html).shape[2] == 4
