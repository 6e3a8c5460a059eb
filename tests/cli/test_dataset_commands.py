"""``wsi-suite dataset``, from labels to parts, as typed."""

import json

import pytest

from wsi_suite.cli import main
from wsi_suite.datasets.locking import alone_at


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["dataset", *map(str, arguments)])
        out, err = capsys.readouterr()
        return exit_.value.code, out, err

    return run


@pytest.fixture
def folder(tmp_path, write_tiles, run):
    tiles = write_tiles(tmp_path / "tiles", {"a": "1", "b": "1", "c": "2", "d": "3"})
    code, _, err = run("import", tiles, tmp_path / "mine", "--from", "tiles")
    assert (code, "version 1, 4 pictures, 32 nuclei (16 Epithelium, 16 Stroma)" in err) == (0, True)
    return tmp_path / "mine"


def test_a_dataset_is_made_split_compared_and_verified(folder, run):
    code, out, _ = run("split", folder, "--parts", "train=2,test=1,val=1", "--json")
    rows = {row["part"]: row["pictures"] for row in json.loads(out)}
    assert (code, rows) == (0, {"test": 1, "train": 2, "val": 1, "all": 4})
    code, out, _ = run("log", folder)
    assert code == 0
    assert "split into train 2, test 1, val 1, seed 0" in " ".join(out.split())
    code, out, _ = run("diff", folder, 1, "--json")
    assert {tuple(change["facts"]) for change in json.loads(out)} == {("split",)}
    code, _, err = run("verify", folder)
    assert (code, "all 2 versions and their pictures are whole" in err) == (0, True)
    code, out, _ = run("show", folder)
    assert (code, "nuclei: Epithelium" in out) == (0, True)
    (folder / "images" / "a.png").write_bytes(b"x")
    code, _, err = run("verify", folder)
    assert (code, "error: images/a.png: not the picture that was added" in err) == (1, True)


def test_labels_go_out_and_come_back_in_another_format(folder, tmp_path, run):
    code, _, err = run(
        "export", folder, tmp_path / "out.csv", "--to", "points", "--class", "Stroma="
    )
    assert (code, "4 pictures" in err) == (0, True)
    code, _, err = run(
        "import", tmp_path / "out.csv", tmp_path / "again", "--from", "points",
        "--images", folder / "images",
    )  # fmt: skip
    assert (code, "16 nuclei (16 Epithelium)" in err) == (0, True)
    code, _, err = run("export", folder, tmp_path / "out.csv", "--to", "points")
    assert (code, "is there already; give another path" in err) == (2, True)
    code, out, _ = run("formats")
    assert (code, "COCO" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("import", "x", "y", "--from", "cocoo"),
            "no format 'cocoo' that can be read",
        ),
        (("split", "FOLDER", "--parts", "train"), "--parts train: expected names and shares"),
        (("split", "FOLDER", "--folds", "4"), "4 parts, but only 3 groups"),
        (("split", "NOWHERE"), "is no dataset, it has no dataset.yaml"),
        (("diff", "FOLDER", "7"), "no version '7'; it has 1"),
        (("revoke", "FOLDER"), "give one of --patient, --slide and --picture"),
        (("revoke", "FOLDER", "--slide", "9"), "no slide '9' in any version"),
        (("agree", "FOLDER"), "no picture has labels of two annotators"),
        (("agree", "FOLDER", "--passing", "0.5"), "name whom to compare with"),
        (("export", "FOLDER", "o", "--to", "tiles", "--class", "A"), "expected OLD=NEW"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, run, arguments, said):
    places = {"FOLDER": folder, "NOWHERE": tmp_path / "nowhere"}
    code, _, err = run(*(places.get(one, one) for one in arguments))
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_new_dataset_whose_import_fails_leaves_nothing(tmp_path, run):
    code, _, _ = run("import", tmp_path / "none", tmp_path / "mine", "--from", "tiles")
    assert code == 2
    assert not (tmp_path / "mine").exists()


def test_annotators_are_compared_and_voted(folder, tmp_path, run):
    table = tmp_path / "both.csv"
    rows = ["image;x;y;class;annotator"]
    for who, x in (("ann", "10,5"), ("bob", "11"), ("eve", "12,5")):
        rows.append(f"a.png;{x};20;{'Stroma' if who == 'ann' else 'Epithelium'};{who}")
    table.write_text("\ufeff" + "\r\n".join(rows), "utf-8")
    images = tmp_path / "few"
    images.mkdir()
    (images / "a.png").write_bytes((folder / "images" / "a.png").read_bytes())
    mine = tmp_path / "several"
    code, _, err = run(
        "import", table, mine, "--from", "points", "--images", images, "--mpp", "0.5"
    )
    assert (code, "3 nuclei" in err) == (0, True)
    code, out, _ = run("agree", mine, "--json")
    assert code == 0
    assert [(one["first"], one["second"]) for one in json.loads(out)["pairs"]] == [
        ("ann", "bob"),
        ("ann", "eve"),
        ("bob", "eve"),
    ]
    code, _, err = run("agree", mine, "--reference", "bob", "--passing", "0.9")
    assert (code, "ann: kappa" in err) == (1, True)
    code, _, err = run("consensus", mine)
    assert (code, "version 2, 1 nuclei of 3 labels" in err) == (0, True)


def test_the_same_import_again_makes_no_version(folder, tmp_path, run):
    code, _, err = run("import", tmp_path / "tiles", folder, "--from", "tiles")
    assert (code, "'a.png' is there already; give --replace" in err) == (2, True)
    code, _, err = run("import", tmp_path / "tiles", folder, "--from", "tiles", "--replace")
    assert (code, "nothing new; version 1 stays" in err) == (0, True)
    (tmp_path / "tiles" / "labels" / "a.txt").write_text("1 1 1\n")
    code, _, err = run("import", tmp_path / "tiles", folder, "--from", "tiles", "--replace")
    assert (code, "version 2, 4 pictures, 25 nuclei" in err) == (0, True)


@pytest.mark.parametrize("command", ["export", "copy"])
def test_what_a_killed_command_left_is_removed_and_two_at_once_are_told(
    folder, tmp_path, run, command
):
    out = tmp_path / "[out]"
    arguments = (command, folder, out, *(("--to", "huggingface") if command == "export" else ()))
    left, others = tmp_path / ".[out].0123abcd.partial", tmp_path / ".other.0123abcd.partial"
    for path in (left, others):
        (path / "train").mkdir(parents=True)
    with alone_at(out):
        code, _, err = run(*arguments)
    assert (code, "another process writes it; wait for it" in err) == (2, True)
    assert not left.exists()
    left.mkdir()
    code, _, _ = run(*arguments)
    assert (code, out.is_dir(), left.exists(), others.exists()) == (0, True, False, True)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".lock")]
    code, _, err = run(command, folder, tmp_path / "none" / "out", *arguments[3:])
    assert (code, len(err.strip().splitlines())) == (1, 1)
    assert "none: no such folder; make it" in err
