"""Stain vectors as QuPath writes them: read back, or refused in one line."""

from __future__ import annotations

import pytest

from wsi_suite.errors import DataError
from wsi_suite.staining.deconvolution import H_DAB, StainVectors
from wsi_suite.staining.qupath_stains import stains_of_qupath

# As QuPath 0.6 writes them: blanks about the colons, and before the background.
WRITTEN = (
    '{"Name" : "H-DAB default", "Stain 1" : "Hematoxylin", "Values 1" : "0.65111 0.70119 0.29049", '
    '"Stain 2" : "DAB", "Values 2" : "0.26917 0.56824 0.77759", "Background" : " 255 255 255"}'
)
CALL = f"setColorDeconvolutionStains('{WRITTEN}');"


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN,
        CALL,
        f"setImageType('BRIGHTFIELD_H_DAB');\r\n{CALL}\r\nclearAllObjects();\r\n",
        f"{CALL}\n{CALL}",
        'setColorDeconvolutionStains("' + WRITTEN.replace('"', '\\"') + '")',
        WRITTEN.replace("Hematoxylin", "haematoxylin").replace("DAB", "dab"),
        WRITTEN.replace("0.", "0,"),
        WRITTEN.replace('"Back', '"Stain 3" : "Residual", "Values 3" : "0.6 -0.5 0.4", "Back'),
        H_DAB.to_qupath(),
    ],
)
def test_every_form_gives_the_vectors(text: str) -> None:
    name, vectors = stains_of_qupath(text, source="it")
    assert name.casefold() == "h-dab default"
    assert vectors.hematoxylin == (0.65111, 0.70119, 0.29049)
    assert vectors.dab == (0.26917, 0.56824, 0.77759)
    assert vectors.background == (255, 255, 255)


def test_what_is_written_is_read_back() -> None:
    vectors = StainVectors((0.7, 0.65, 0.3), (0.3, 0.5, 0.8), (240.5, 239, 241))
    read = stains_of_qupath(vectors.to_qupath(), source="it").vectors
    assert read.to_qupath() == vectors.to_qupath()


def test_stains_in_the_other_order_are_told_by_their_names() -> None:
    swapped = (
        '{"Name":"x","Stain 1":"DAB","Values 1":"0.3 0.5 0.8","Stain 2":"H",'
        '"Values 2":"0.7 0.6 0.3","Background":"255 255 255"}'
    )
    assert stains_of_qupath(swapped, source="it").vectors.dab == (0.3, 0.5, 0.8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no stain vectors in it"),
        ("setImageType('BRIGHTFIELD_H_DAB')", "no stain vectors in it"),
        (WRITTEN.replace('"', ""), "not JSON"),
        (WRITTEN[:-30], "no stain vectors in it"),
        (WRITTEN.replace("DAB", "Eosin"), "stains are Hematoxylin and Eosin; expected"),
        (WRITTEN.replace("Stain 2", "Stain 4"), "stains are Hematoxylin and nothing"),
        (WRITTEN.replace('"Back', '"Stain 3" : "Fast Red", "Back'), "the third is Fast Red"),
        (WRITTEN.replace("0.26917 ", ""), "\"Values 2\" = '0.56824 0.77759': expected three"),
        (WRITTEN.replace(" 255 255 255", "NaN 1 1"), "expected values from 1 to 255"),
        (WRITTEN.replace("0.65111 0.70119 0.29049", "0 0 0"), "stain.hematoxylin = "),
        (f"{CALL}{CALL.replace('0.65', '0.75')}", "2 different stain vectors"),
    ],
)
def test_what_cannot_be_used_is_one_line(text: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        stains_of_qupath(text, source="it")
    assert str(error.value).startswith("it: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
