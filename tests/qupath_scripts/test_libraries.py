"""The parts that need no QuPath: requests, answers, nuclei from GeoJSON, thresholds."""

from __future__ import annotations

import json
import math
import os
import sys

import pytest
from groovy_side import ID, SQUARE, GroovyError, collection, nucleus

# ---- The service: finding it ---------------------------------------------------------------------

TOLD = {"pid": 1, "host": "127.0.0.1", "port": 8000, "token": "t", "version": "0.1.0"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        json.dumps({**TOLD, "pid": "1"}),
        json.dumps({**TOLD, "port": None}),
        json.dumps({**TOLD, "host": ["127.0.0.1"]}),
        json.dumps({key: value for key, value in TOLD.items() if key != "token"}),
    ],
)
def test_a_damaged_discovery_file_is_as_none(groovy, tmp_path, text):
    file = tmp_path / "service.json"
    file.write_text(text)
    assert groovy("Service.readDiscovery(new File(path))", path=str(file)) is None


def test_a_whole_discovery_file_is_read(groovy, tmp_path):
    file = tmp_path / "service.json"
    file.write_text(json.dumps({**TOLD, "new": "key"}))
    assert groovy("Service.readDiscovery(new File(path)).port", path=str(file)) == 8000


def test_a_service_whose_process_is_gone_is_not_believed(groovy, tmp_path):
    file = tmp_path / "service.json"
    file.write_text(json.dumps({**TOLD, "pid": 2**31 - 1}))
    assert groovy("Service.find(new File(path))", path=str(file)) is None


def test_a_process_that_is_no_service_is_not_believed(groovy, tmp_path):
    file = tmp_path / "service.json"
    file.write_text(json.dumps({**TOLD, "pid": os.getpid(), "port": 1}))
    assert groovy("Service.find(new File(path))", path=str(file)) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_a_service_is_asked_where_it_listens(groovy, host, address):
    assert groovy("Service.addressOf(host, 8000)", host=host) == address


# ---- The service: starting it --------------------------------------------------------------------


def test_it_is_started_with_a_list_of_arguments(groovy):
    code = "Service.startArguments(['/a b/python', '-m', 'wsi_suite'], folders)"
    folders = ["/slides; rm -rf ~", "/größer"]
    assert groovy(code, folders=folders) == [
        *("/a b/python", "-m", "wsi_suite", "serve", "--idle-minutes", "60"),
        *("--allow-root", "/slides; rm -rf ~", "--allow-root", "/größer"),
    ]


@pytest.mark.parametrize(
    ("installed", "remembered", "program"),
    [
        ([sys.executable, "-m", "wsi_suite", ""], "", [sys.executable, "-m", "wsi_suite"]),
        ([sys.executable], "/gone", [sys.executable]),
        (["/gone", "-m", "wsi_suite"], sys.executable, [sys.executable]),
        (["/gone"], "/gone", None),
        ([], None, None),
    ],
)
def test_the_program_is_the_installed_one_else_the_remembered_one(
    groovy, tmp_path, installed, remembered, program
):
    file = tmp_path / "program.txt"
    file.write_text("\n".join(installed), "utf-8")
    code = "Service.program(new File(path), remembered)"
    assert groovy(code, path=str(file), remembered=remembered) == program


def test_a_program_that_cannot_be_started_is_named(groovy, tmp_path):
    program = tmp_path / "wsi-suite"
    program.write_text("not a program")
    with pytest.raises(GroovyError, match=f"{program} cannot be started .* install-scripts"):
        groovy("Service.start([program], [], { false })", program=str(program))


# ---- The service: its answers --------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "null", "[1]", "1", '"x"', "{", "<html>no</html>", None])
def test_what_is_no_object_is_refused_and_shown(groovy, text):
    with pytest.raises(GroovyError, match="Expected a JSON object from the wsi-suite service"):
        groovy("Service.parse(text)", text=text)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (422, '{"detail": "thresholds_od: expected rising"}', "thresholds_od: expected rising"),
        (401, '{"detail": "no"}', "does not accept the token"),
        (500, "<html>", "answered 500 to /v1/jobs"),
        (500, '{"detail": ["x"]}', "answered 500 to /v1/jobs"),
        (404, '{"detail": ""}', "answered 404 to /v1/jobs"),
    ],
)
def test_a_refusal_is_told_in_one_line(groovy, status, body, words):
    told = groovy("Service.refusal(status as int, body, '/v1/jobs')", status=status, body=body)
    assert words in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("value", "fraction"), [(0.5, 0.5), (7, 1), (-1, 0), (None, -1), ("0.5", -1), ([], -1)]
)
def test_progress_is_between_none_and_all(groovy, value, fraction):
    assert groovy("Service.fraction(value)", value=value) == fraction


def test_the_report_tells_scores_and_corrections(groovy):
    told = groovy(
        """
        Service.report([summary: [warnings: ["Not calibrated."]]],
            [placed: 120, changed: 2, deleted: 0, added: 1, suppressed: 3],
            [Epithelium: 187.34d], "1 annotation")
        """
    )
    assert told.splitlines() == [
        "120 nuclei in 1 annotation.",
        "Epithelium: H-score 187.3",
        "",
        "Corrections kept: 2 changed, 1 added; 3 new nuclei there were left out.",
        "",
        "Not calibrated.",
    ]


@pytest.mark.parametrize("summary", [None, "odd", {}, {"warnings": "x"}])
def test_an_odd_summary_still_gives_a_report(groovy, summary):
    code = "Service.report(job, [placed: 1], [:], 'the whole slide')"
    assert groovy(code, job={"summary": summary}) == "1 nuclei in the whole slide."


# ---- Nuclei --------------------------------------------------------------------------------------

READ = """
    GeoJson.read(new StringReader(text), "nuclei.geojson", { }).collect {
        [id: it.ID.toString(), kind: it.ROI.kind, x: it.ROI.centroidX, y: it.ROI.centroidY,
         class: it.pathClass?.toString(), color: it.pathClass?.color,
         measured: it.measurementList.with { list ->
             list.measurementNames.collectEntries { [it, list.get(it)] } },
         source: Nuclei.markOf(it, Nuclei.SOURCE), pushed: Nuclei.markOf(it, Nuclei.PUSHED)]
    }
"""


def test_a_nucleus_is_read_whole(groovy):
    feature = nucleus(
        measurements={"Nucleus: DAB OD mean": 0.35, "Odd": "NaN", "None": None},
        metadata={"_source": "wsi-suite 0.1.0", "_pushed": "2.00,2.00,16.00,Stroma"},
    )
    [read] = groovy(READ, text=collection(feature))
    assert math.isnan(read["measured"].pop("Odd"))
    assert read == {
        **{"id": ID, "kind": "Polygon", "x": 2, "y": 2, "class": "Stroma: 1+"},
        **{"color": -16_711_165 + 0, "measured": {"Nucleus: DAB OD mean": 0.35}},
        **{"source": "wsi-suite 0.1.0", "pushed": "2.00,2.00,16.00,Stroma"},
    }


def test_shapes_are_told_apart(groovy):
    circle = {
        "type": "Polygon",
        "isEllipse": True,
        "coordinates": [[[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]],
    }
    point = {"type": "Point", "coordinates": [7, 8]}
    read = groovy(READ, text=collection(nucleus(circle), nucleus(point), nucleus()))
    assert [(one["kind"], round(one["x"]), round(one["y"])) for one in read] == [
        ("Ellipse", 2, 2),
        ("Points", 7, 8),
        ("Polygon", 2, 2),
    ]


def test_a_sequence_of_collections_is_read_as_one(groovy):
    text = "".join(f"\x1e{collection(*[nucleus()] * count)}\n" for count in (2, 0, 3))
    assert len(groovy(READ, text=text)) == 5
    assert groovy(READ, text="") == []


HOSTILE = {
    "ends early": collection(nucleus(), nucleus())[:-40],
    "not JSON": "<html>",
    "an array": "[]",
    "no features": "{}",
    "no geometry": collection(nucleus(None)),
    "no geometry at all": collection({"type": "Feature", "properties": {}}),
    "two parts": collection(
        nucleus({"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]] * 2})
    ),
    "a hole": collection(
        nucleus({**SQUARE, "coordinates": [*SQUARE["coordinates"], [[1, 1], [2, 1], [1, 1]]]})
    ),
    "open": collection(
        nucleus({"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4]]]})
    ),
    "too few corners": collection(nucleus({"type": "Polygon", "coordinates": [[[0, 0], [0, 0]]]})),
    "infinite": collection(nucleus()).replace("[4, 0]", "[Infinity, 0]"),
    "a text": collection(nucleus()).replace("[4, 0]", '["four", 0]'),
    "an annotation": collection(nucleus(objectType="annotation")),
    "a measurement": collection(nucleus(measurements={"a": {"b": 1}})),
    "a bad id": collection({**nucleus(), "id": "one"}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_ours_is_refused_by_name(groovy, text):
    with pytest.raises(GroovyError, match=r"^IllegalStateException: nuclei.geojson"):
        groovy(READ, text=text)
