import numpy as np
import pytest

from wsi_suite.errors import DataError
from wsi_suite.nuclei.parquet import write_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.studies.corrections import read_corrections, total

HEAD = "id,x,y,state,pushed_class,class\n"
ROWS = """\
a,10,10,untouched,Stroma,Stroma: 1+
b,20,10,untouched,Epithelium,Epithelium
c,30,10,corrected,Stroma,Epithelium: 2+
d,40,10,corrected,Stroma,Stroma
e,50,10,deleted,,
f,60,10.5,deleted,,
i,61,11,deleted,Stroma,
g,70,10,added,,"Tumor, odd"
h,80,10,added,,
"""


@pytest.fixture
def pulled(tmp_path):
    for name, rows in {"B1.svs": ROWS, "B2": "a,1,1,untouched,Stroma,Stroma\n"}.items():
        (tmp_path / "pulled" / name).mkdir(parents=True)
        (tmp_path / "pulled" / name / "nuclei.csv").write_text(HEAD + rows, "utf-8")
    return tmp_path / "pulled"


def test_missed_false_and_wrong_classes_are_counted(pulled):
    one, untouched = read_corrections(pulled)
    assert one.untouched == {"Stroma": 1, "Epithelium": 1}
    assert one.renamed == {("Stroma", "Epithelium"): 1}
    assert one.reshaped == {"Stroma": 1}
    assert one.missed == {"Tumor, odd": 1, "": 1}
    assert one.false == {"": 2, "Stroma": 1}
    assert (one.precision, one.recall, one.class_accuracy) == (4 / 7, 4 / 6, 3 / 4)
    assert not untouched.is_corrected
    assert total([one, untouched]).untouched == one.untouched


def test_a_run_tells_the_class_of_nuclei_that_an_earlier_version_pushed(pulled, tmp_path):
    folder = tmp_path / "results" / "B1"
    folder.mkdir(parents=True)
    nuclei = Nuclei(
        x=np.array([50.0, 65.0]),
        y=np.array([10.0, 10.0]),
        confidence=np.ones(2, np.float32),
        label=np.array([1, 0], np.uint8),
        classes=("Stroma", "Epithelium"),
    )
    grades = np.zeros(2, np.uint8)
    write_nuclei(nuclei, folder / "nuclei.parquet", intensity=grades, metadata={})
    one, _ = read_corrections(pulled, results=tmp_path / "results")
    assert one.false == {
        "Epithelium": 1,
        "": 1,
        "Stroma": 1,
    }  # the other is not where the run found one


def test_another_table_is_refused(pulled, tmp_path):
    path = pulled / "B1.svs" / "nuclei.csv"
    path.write_text(HEAD + "a,1,1,gone,,\n")
    with pytest.raises(DataError, match="line 2: state 'gone'; expected untouched"):
        read_corrections(pulled)
    path.write_text("id,x\n1,2\n")
    with pytest.raises(DataError, match="no column 'y'"):
        read_corrections(pulled)
    with pytest.raises(DataError, match=r"no <image>/nuclei\.csv in it"):
        read_corrections(tmp_path)
