"""``corrections``."""

from pathlib import Path

from command_line import Cli

HEAD = "id,x,y,state,pushed_class,class\n"


def test_deletions_without_a_class_say_what_to_give(wsi: Cli, tmp_path: Path) -> None:
    table = tmp_path / "pulled" / "B1.svs" / "nuclei.csv"
    table.parent.mkdir(parents=True)
    table.write_text(f"{HEAD}a,1,1,untouched,Stroma,Stroma\nb,9,9,deleted,Stroma,\n")
    answer = wsi("corrections", tmp_path / "pulled")
    assert (answer.code, answer.err) == (0, "")
    table.write_text(f"{HEAD}a,1,1,untouched,Stroma,Stroma\nb,9,9,deleted,,\n")
    answer = wsi("corrections", tmp_path / "pulled")
    assert "class of 1 deleted nuclei is not known: give --results with the" in answer.err
    answer = wsi("corrections", tmp_path / "pulled", "--results", tmp_path)
    assert f"{tmp_path} holds no results of these images" in " ".join(answer.err.split())
