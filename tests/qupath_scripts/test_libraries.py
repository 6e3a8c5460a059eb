"""The parts that need no QuPath: requests, answers, nuclei from GeoJSON, thresholds."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import pytest
from groovy_side import ID, SQUARE, GroovyError, collection, nucleus

# ---- The service: finding it ---------------------------------------------------------------------

CORRECTION_CASES = Path(__file__).parents[1] / "correction_cases.json"
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
        def warnings = ["Not calibrated (score.thresholds_od; see x).",
            "Look (--set a.b=1), or (--roi)!"]
        Service.report([summary: [warnings: warnings, marker: "ER", thresholds_origin: "user",
                thresholds_od: [0.15d, 0.35d, 0.55d]]],
            [placed: 120, changed: 2, deleted: 0, added: 1, suppressed: 3],
            [Epithelium: "H-score 187.3, 80.0 % positive"], "1 annotation")
        """
    )
    assert told.splitlines() == [
        "120 nuclei in 1 annotation.",
        "Epithelium: H-score 187.3, 80.0 % positive",
        "Scored with marker ER, thresholds 0.15 / 0.35 / 0.55.",
        "",
        "Corrections kept: 2 changed, 1 added; 3 new nuclei there were left out.",
        "",
        "Not calibrated.",
        "Look, or!",
    ]


@pytest.mark.parametrize("summary", [None, "odd", {}, {"warnings": "x"}])
def test_an_odd_summary_still_gives_a_report(groovy, summary):
    code = "Service.report(job, [placed: 1], [:], 'the whole slide')"
    assert groovy(code, job={"summary": summary}).splitlines() == [
        "1 nucleus in the whole slide.",
        "No score: none of these nuclei could be measured.",
    ]


def test_a_slide_of_another_stain_is_said_to_be_why_there_is_no_score(groovy):
    job = {"summary": {"no_verdict": "the slide shows hematoxylin and eosin"}}
    told = groovy("Service.report(job, [placed: 3], [:], 'all tissue')", job=job)
    assert told.splitlines()[1] == "No score: the slide shows hematoxylin and eosin."


def test_no_nuclei_are_said_to_be_why_there_is_no_score(groovy):
    told = groovy("Service.report([:], [placed: 0], [:], '2 annotations')")
    assert told.splitlines() == ["0 nuclei in 2 annotations.", "No score: there are no nuclei."]


# ---- Regions to score ----------------------------------------------------------------------------

REGIONS = """
    def rois = qupath.lib.roi.ROIs, objects = qupath.lib.objects.PathObjects
    def square = rois.createPolygonROI([0, 9, 9, 0] as double[], [0, 0, 9, 9] as double[], null)
    def point = rois.createPointsROI(1d, 1d, null)
    def tumour = qupath.lib.objects.classes.PathClass.fromString("Tumor", null)
    def chosen = kinds.collect { kind ->
        def roi = kind.contains("point") ? point : square
        if (kind.startsWith("core"))
            return new qupath.lib.objects.TMACoreObject(rOI: roi, missing: kind ==~ /.* missing/)
        kind.startsWith("annotation") ? objects.createAnnotationObject(roi, tumour)
            : objects.createDetectionObject(roi)
    }
    def (regions, words) = Slide.regions(chosen, name)
    [regions.size(), words]
"""


@pytest.mark.parametrize(
    ("kinds", "name", "told"),
    [
        ([], "", [0, "all tissue"]),
        (["detection"], "", [0, "all tissue"]),
        (["annotation", "detection"], "", [1, "1 annotation"]),
        (
            ["annotation", "annotation", "annotation point"],
            "",
            [2, "2 annotations (1 without an area left out)"],
        ),
        (["core", "core"], "", [2, "2 TMA cores"]),
        (["core", "core missing"], "", [1, "1 TMA core (1 without an area left out)"]),
        (["core", "annotation"], "Tumor", [1, "1 annotation"]),
    ],
)
def test_selected_regions_are_counted_and_named(groovy, kinds, name, told):
    assert groovy(REGIONS, kinds=kinds, name=name) == told


@pytest.mark.parametrize(
    ("kinds", "name", "words"),
    [
        (["annotation point"], "", "What is selected has no area"),
        (["core missing"], "", "What is selected has no area"),
        (["annotation"], "Stroma", "No annotation of the class 'Stroma' has an area"),
        (["core"], "Tumor", "No annotation of the class 'Tumor' has an area"),
    ],
)
def test_a_selection_without_an_area_never_means_all_tissue(groovy, kinds, name, words):
    with pytest.raises(GroovyError, match=words):
        groovy(REGIONS, kinds=kinds, name=name)


FILES = """
    Slide.nucleiFiles(new File(slide), folders.collect { new File(it) })*.getPath()
        .collect { it.replace("\\\\", "/") }
"""


@pytest.mark.parametrize("folder", ["results", "results/a.b", "other"])
def test_results_of_a_slide_are_found_in_a_folder_or_are_it(groovy, tmp_path, folder):
    for name in ("a.b", "a", "a.b-12345"):
        (tmp_path / "results" / name).mkdir(parents=True)
    written = tmp_path / "results" / "a.b" / "nuclei.geojson"
    written.touch()
    folders = [str(tmp_path / folder)]
    if folder == "other":
        with pytest.raises(GroovyError, match=r"No results of a\.b\.svs in .*other"):
            groovy(FILES, slide="/slides/a.b.svs", folders=folders)
    else:
        assert groovy(FILES, slide="/slides/a.b.svs", folders=folders) == [written.as_posix()]


# ---- Classes -------------------------------------------------------------------------------------

CLASSES = """
    def project = new qupath.lib.projects.Project()
    project.pathClasses = listed.collect { qupath.lib.objects.classes.PathClass.fromString(it, 7) }
    def wanted = new LinkedHashMap(["Kidney: 1+": 1, "Stroma": 2, "Gland: 3+": 3])
    def added = [1, 2].collect { Classes.addTo(project, wanted) }
    [added: added, names: project.pathClasses*.toString(), colours: project.pathClasses*.color]
"""


def test_a_project_gets_the_classes_that_corrections_need(groovy):
    told = groovy(CLASSES, listed=["Somebody's", "Gland: 3+"])
    assert told["names"] == ["Somebody's", "Gland: 3+", "Kidney: 1+", "Stroma"]
    # A class that the user has keeps its colour.
    assert told["colours"][:3] == [7, 7, 1]
    assert told["colours"][3] != 2, "QuPath's own class keeps QuPath's colour"
    assert told["added"] == [2, 0]


def test_a_new_project_keeps_qupaths_own_classes(groovy):
    names = groovy(CLASSES, listed=[])["names"]
    assert names[:3] == ["Tumor", "Stroma", "Immune cells"]
    assert names[-2:] == ["Kidney: 1+", "Gland: 3+"]
    assert len(names) == len(set(names)) == 11


# ---- Nuclei --------------------------------------------------------------------------------------

CORRECTED = """
    cases.collect { one ->
        def corners = one.ring.dropRight(1)
        double[] x = corners.collect { it[0] }, y = corners.collect { it[1] }
        def roi = qupath.lib.roi.ROIs.createPolygonROI(x, y, null)
        def pathClass = one["class"] == null ? null :
            qupath.lib.objects.classes.PathClass.fromString(one["class"], null)
        def nucleus = qupath.lib.objects.PathObjects.createDetectionObject(roi, pathClass)
        if (one.name != null)
            nucleus.setName(one.name)
        if (one.locked)
            nucleus.setLocked(true)
        Nuclei.mark(nucleus, one.pushed == null ? [(Nuclei.SOURCE): "wsi-suite"] :
            [(Nuclei.SOURCE): "wsi-suite", (Nuclei.PUSHED): one.pushed])
        Nuclei.isCorrected(nucleus)
    }
"""


def test_what_counts_as_corrected_is_the_same_in_groovy_and_python(groovy):
    cases = json.loads(CORRECTION_CASES.read_text("utf-8"))
    told = groovy(CORRECTED, cases=cases)
    assert {one["case"]: found for one, found in zip(cases, told, strict=True)} == {
        one["case"]: one["corrected"] for one in cases
    }


PLACED = """
    def rois = qupath.lib.roi.ROIs, objects = qupath.lib.objects.PathObjects
    def classes = qupath.lib.objects.classes.PathClass
    def imageData = new qupath.lib.images.ImageData(
        server: new qupath.lib.images.servers.ImageServer())
    def make = { String name, double x, String run ->
        double[] across = [x, x + 4, x + 4, x], down = [0, 0, 4, 4]
        def square = rois.createPolygonROI(across, down, null)
        def nucleus = objects.createDetectionObject(square, classes.fromString(name, null))
        Nuclei.mark(nucleus, [(Nuclei.SOURCE): "wsi-suite", (Nuclei.RUN): run])
        nucleus
    }
    def push = { String run ->
        Nuclei.place(imageData, nuclei.collect { make(it[0], it[1], run) }, null, false, 0.25d)
    }
    def delete = { int at ->
        def hierarchy = imageData.hierarchy
        def gone = hierarchy.detectionObjects.find { it.ROI.centroidX as int == at + 2 }
        hierarchy.removeObjects([gone], true)
    }
    def deleted = {
        Nuclei.states(imageData).findAll { it.value == Nuclei.DELETED }.keySet().collectEntries {
            [it.ROI.centroidX as int, Nuclei.markOf(it, Nuclei.PUSHED).split(",", 4)[3]] }
    }
"""


def test_deleted_nuclei_keep_the_class_that_they_were_found_with(groovy):
    code = """
        push("r1"); delete(100); delete(300)
        def told = [deleted()]
        def counts = push("r2"); delete(200); told << deleted() << counts
        push("r2"); told << deleted()
        told
    """
    found = [["Stroma: 1+", 100], ["Gland: inner: 2+", 200], ["Epithelium", 300], ["Stroma", 400]]
    first, second, counts, third = groovy(PLACED + code, nuclei=found)
    assert first == {"102": "Stroma", "302": "Epithelium"}
    assert second == third == {**first, "202": "Gland: inner"}
    assert (counts["deleted"], counts["placed"], counts["suppressed"]) == (2, 2, 2)


def test_a_neighbour_of_a_correction_stays_when_it_comes_again(groovy):
    """The second nucleus lies 2 um from the one that was deleted: it was seen, and left there."""
    code = """
        push("r1"); delete(100)
        def again = push("r1")
        def other = Nuclei.place(imageData, [make("Stroma", 109, "r2")], null, false, 0.25d)
        [again, other]
    """
    again, other = groovy(PLACED + code, nuclei=[["Stroma", 100], ["Stroma", 108], ["Stroma", 300]])
    assert (again["deleted"], again["placed"], again["suppressed"]) == (1, 2, 1)
    assert (other["placed"], other["suppressed"]) == (0, 1)  # not the same: perhaps the deleted one


def test_a_record_of_an_earlier_version_still_tells_what_was_deleted(groovy):
    code = """
        push("r1"); delete(100)
        def key = { x -> Positions.keyOf(x as double, 2d) }
        imageData.setProperty(Nuclei.RECORD, "pushed r1 " +
            Positions.pack([102, 202].collect(key) as long[]) + "\\ndeleted " +
            Positions.pack([key(302)] as long[]))
        def told = [deleted()]
        told << push("r2").deleted << deleted()
    """
    told = groovy(PLACED + code, nuclei=[["Stroma", 100], ["Stroma", 200]])
    assert told == [{"102": "", "302": ""}, 2, {"102": "", "302": ""}]


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
    feature = nucleus(  # of a class that no other test makes: the first colour of a class stays
        classification={"name": "Read whole: 1+", "color": [1, 2, 3]},
        measurements={"Nucleus: DAB OD mean": 0.35, "Odd": "NaN", "None": None},
        metadata={"_source": "wsi-suite 0.1.0", "_pushed": "2.00,2.00,16.00,Stroma"},
    )
    [read] = groovy(READ, text=collection(feature))
    assert math.isnan(read["measured"].pop("Odd"))
    assert read == {
        **{"id": ID, "kind": "Polygon", "x": 2, "y": 2, "class": "Read whole: 1+"},
        **{"color": -16_711_165, "measured": {"Nucleus: DAB OD mean": 0.35}},
        **{"source": "wsi-suite 0.1.0", "pushed": "2.00,2.00,16.00,Stroma"},
    }


def test_all_classes_that_a_file_names_are_told(groovy):
    text = json.dumps(
        {
            "type": "FeatureCollection",
            "classes": [{"name": "Stroma: 3+", "color": [0, 0, 9]}, {"name": "Stroma"}],
            "features": [nucleus()],
        }
    )
    code = """
        def colours = [:]
        GeoJson.read(new StringReader(text), "nuclei.geojson", colours) { }
        colours.collectEntries { [it.key, it.value == null ? null : it.value & 0xFFFFFF] }
    """
    assert groovy(code, text=text) == {"Stroma: 3+": 9, "Stroma": None, "Stroma: 1+": 0x010203}


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
