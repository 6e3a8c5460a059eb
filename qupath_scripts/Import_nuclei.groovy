/*
 * Import the nuclei that wsi-suite found into the open image. For QuPath 0.4 - 0.7.
 *
 * `wsi-suite run SLIDE --out RESULTS` writes nuclei.geojson (or several nuclei*.geojson) to
 * RESULTS/<name of the slide's file>/. This script reads all of them. Nuclei that were imported
 * before are replaced, so the script can be run again; those that you corrected, deleted or added,
 * and whatever others made, stay as they are. Nothing is changed where it fails.
 */

import java.util.concurrent.CancellationException

// ---- Settings ----------------------------------------------------------------------------------

// The folder given to --out, for example "D:/results".
// Empty: "results" in the project's folder, else "results" beside the slide.
def resultsFolder = ""

// true: replace nuclei that you corrected, deleted or added, too.
def discardCorrections = false

// ------------------------------------------------------------------------------------------------

def script = binding.variables["qupath.script.file"]
def folder = script ? new File(script).getParentFile()
    : new File(PathPrefs.userPathProperty().get() ?: "", "scripts/WSI Suite")
def (Ui, Slide, Nuclei, GeoJson, Thresholds) = evaluate(new File(folder, "Libraries.gvy"))
    .call("Ui", "Slide", "Nuclei", "GeoJson", "Thresholds")

def imageData = getCurrentImageData()
def isShown = getQuPath() != null && getQuPath().getImageData() == imageData
def ui = Ui.newInstance("Import nuclei", Dialogs, isShown ? getQuPath() : null)

ui.run {
    def slide = Slide.file(imageData)
    def results = resultsFolder ? [new File(resultsFolder)]
        : [getProject() ? new File(buildFilePath(PROJECT_BASE_DIR, "results")) : null,
           new File(slide.getParent(), "results")].findAll()
    if (ui.interactive && !resultsFolder && !Slide.resultFolders(slide, results)) {
        def chosen = ui.ask("No results of ${slide.getName()} in ${results.join(' or ')}. Choose their folder now?",
            false, true) ? ui.chooseFolder(slide.getParentFile()) : null
        if (chosen == null)
            return
        results = [chosen]
    }
    def files = Slide.nucleiFiles(slide, results)
    def counts = ui.withProgress("Importing nuclei of ${slide.getName()}") { progress ->
        def nuclei = [], colours = [:]
        for (file in files) {
            nuclei.addAll(GeoJson.read(file.newReader("UTF-8"), file.getPath(), colours) { count ->
                if (!progress.tell(-1, "Reading ${nuclei.size() + count} nuclei"))
                    throw new CancellationException()
            })
        }
        progress.commit("Showing ${nuclei.size()} nuclei")
        Ui.offerClasses(getQuPath(), getProject(), colours)
        Nuclei.place(imageData, nuclei, null, discardCorrections)
    }
    // As QuPath counts: with corrections and whatever else has such a class.
    def scores = Thresholds.tallies(getDetectionObjects()).collect { "\n${it.key}: ${Thresholds.inWords(it.value)}" }
    def kept = ["changed", "deleted", "added"].findAll { counts[it] }.collect { "${counts[it]} ${it}" }
    ui.say("Imported ${counts.placed} nuclei from ${files.join(', ')}." +
        (kept ? " Corrections kept: ${kept.join(', ')}." : "") + scores.join(""))
}
