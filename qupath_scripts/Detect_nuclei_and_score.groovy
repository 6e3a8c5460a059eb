/*
 * Find and score nuclei in the selected annotations, or in the whole slide. For QuPath 0.4 - 0.7.
 *
 * wsi-suite's service does the work; it is started where none runs, and reads the slide's file by
 * itself. Nuclei appear as detections, with class and measurements; QuPath shows the scores of an
 * annotation in its measurements. Nuclei that wsi-suite found there before are replaced; those that
 * you corrected, deleted or added, and whatever others made, stay as they are.
 */

import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep

import java.util.concurrent.CancellationException

// ---- Settings ----------------------------------------------------------------------------------

// Score all annotations of this class, for example "Tumor". Empty: those that are selected, and
// where none is selected the whole slide.
def annotationClass = ""

// Name or folder of a model. Empty: the service's.
def model = ""

// DAB optical density from which a nucleus is 1+, 2+, 3+, for example [0.15, 0.35, 0.55].
// Empty: [0.2, 0.4, 0.6], which are defaults and not calibrated. In the window you are asked.
def thresholds = []

// What the DAB shows: "ER", "PR", "Ki-67" or "other". Empty: not specified. In the window you are asked.
def marker = ""

// true: take the whole slide for tissue, where it is too pale to be found. In the window you are asked.
def wholeSlide = false

// "polygon" for outlines, or "ellipse", "point".
def shape = "polygon"

// true: replace nuclei that you corrected, deleted or added, too.
def discardCorrections = false

// true: let the service read the slide's folder without asking (where no window is open, nobody
// can be asked).
def allowFolder = false

// ------------------------------------------------------------------------------------------------

def script = binding.variables["qupath.script.file"]
def folder = script ? new File(script).getParentFile()
    : new File(PathPrefs.userPathProperty().get() ?: "", "scripts/WSI Suite")
def (Ui, Slide, Nuclei, GeoJson, Service, Thresholds, Choices) = evaluate(new File(folder, "Libraries.gvy"))
    .call("Ui", "Slide", "Nuclei", "GeoJson", "Service", "Thresholds", "Choices")

def imageData = getCurrentImageData()
def isShown = getQuPath() != null && getQuPath().getImageData() == imageData
def ui = Ui.newInstance("Detect nuclei and score", Dialogs, isShown ? getQuPath() : null)

// The program that starts the service, as a list of arguments.
def program = {
    def remembered = PathPrefs.createPersistentPreference("wsiSuiteProgram", "")
    def told = Service.program(new File(folder, "wsi-suite.program"), remembered.get())
    if (told == null && ui.ask("The program wsi-suite was not found. Choose its file now?", false, true)) {
        def chosen = promptForFile()?.getPath()
        remembered.set(chosen)
        told = chosen ? [chosen] : null
    }
    if (told == null)
        throw new IllegalStateException("The program wsi-suite was not found: type " +
            "'wsi-suite qupath install-scripts', which tells QuPath where it is.")
    told
}

// The service that runs, or a new one.
def connect = { progress ->
    progress.tell(-1, "Looking for the wsi-suite service")
    def service = Service.find()
    if (service == null) {
        def started = program()
        progress.tell(-1, "Starting the wsi-suite service, which takes some seconds")
        service = Service.start(started, Slide.folders(getProject())) { progress.isCancelled() }
    }
    service
}

// The id of a new job; before a folder is read for the first time, the user is asked.
def submit = { service, request ->
    def slide = new File(request.slide)
    def id = service.submit(request)
    if (id != null)
        return id
    if (!ui.ask("May wsi-suite read the slides in ${slide.getParent()}?", allowFolder))
        throw new IllegalStateException("wsi-suite may not read ${slide.getParent()}: allow it " +
            "when asked, or set allowFolder at the top of this script.")
    service.addFolder(slide.getParent())
    id = service.submit(request)
    if (id == null)
        throw new IllegalStateException("wsi-suite's service still refuses to read ${slide}.")
    id
}

ui.run {
    def slide = Slide.file(imageData)
    def stains = Slide.stains(imageData)  // before anything is asked: other types are refused
    def (annotations, where) = Slide.regions(annotationClass ? getAnnotationObjects() : getSelectedObjects(),
        annotationClass)
    if (ui.interactive && !annotationClass) {
        def kept = [marker: PathPrefs.createPersistentPreference("wsiSuiteMarker", ""),
            thresholds: PathPrefs.createPersistentPreference("wsiSuiteThresholds", "")]
        def choice = Choices.ask(ui, "${where} of ${slide.getName()}".toString(), marker ?: kept.marker.get(),
            thresholds ?: Choices.remembered(kept.thresholds.get()), wholeSlide)
        if (choice == null)
            return
        kept.marker.set(marker = choice.marker)
        thresholds = choice.thresholds
        wholeSlide = choice.wholeSlide
        kept.thresholds.set(Choices.toRemember(thresholds))
    }

    def request = [
        slide: slide.getPath(),
        image: Slide.describe(imageData),
        rois: annotations ? Slide.rois(annotations) : null,
        model: model ?: null,
        min_confidence: null,
        thresholds_od: thresholds ?: null,
        marker: marker ?: null,
        stains: stains,
        whole_slide: wholeSlide,
        shape: shape,
    ]
    def header = "Finding nuclei in ${where} of ${slide.getName()}"
    def (job, counts) = ui.withProgress(header) { progress ->
        def service = connect(progress)
        def id = submit(service, request)
        def job = service.await(id) { fraction, message -> progress.tell(fraction, message) }
        def answer = new InputStreamReader(service.nuclei(id), "UTF-8")
        def colours = [:]
        def nuclei = GeoJson.read(answer, "What the service sent", colours) { count ->
            if (!progress.tell(-1, "Reading ${count} nuclei"))
                throw new CancellationException()
        }
        if (nuclei.size() != job.nuclei)
            throw new IllegalStateException("The service found ${job.nuclei as int} nuclei, but " +
                "sent ${nuclei.size()}: run this script again.")
        progress.commit("Showing ${nuclei.size()} nuclei")
        Ui.offerClasses(getQuPath(), getProject(), colours)
        def counts = Nuclei.place(imageData, nuclei,
            annotations ? Slide.area(annotations) : null, discardCorrections)
        service.forget(id)
        [job, counts]
    }

    def used = job.summary?.thresholds_od
    def classes = job.summary?.scores?.keySet()
    if (used && classes)
        imageData.setProperty(Thresholds.REMEMBERED,
            Thresholds.toRemember(classes.collectEntries { [it, used] }))

    // Plain texts, because QuPath stores them with the image.
    def step = [model: job.summary?.model?.name, where: where, nuclei: counts.placed,
        thresholds: job.summary?.thresholds_od, marker: job.summary?.marker]
        .findAll { it.value != null }.collectEntries { [it.key, it.value.toString()] }
    imageData.getHistoryWorkflow().addStep(new DefaultScriptableWorkflowStep(
        "Detect nuclei and score (wsi-suite)", step,
        "// Run Detect_nuclei_and_score.groovy here: ${step}"))
    // As QuPath counts: by centroid, with corrections and whatever else has such a class.
    def scores = Thresholds.tallies(Slide.detections(imageData, annotations))
        .collectEntries { [it.key, Thresholds.inWords(it.value)] }
    ui.say(Service.report(job, counts, scores, where))
}
