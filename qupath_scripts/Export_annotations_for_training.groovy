/*
 * Write annotations and corrected nuclei of the open image for wsi-suite. For QuPath 0.4 - 0.7.
 *
 * <folder>/<image>.geojson holds the annotations, as `wsi-suite run --roi` takes them, and every
 * nucleus with what became of it: untouched, corrected, deleted or added.
 */

import java.nio.file.Files
import java.nio.file.StandardCopyOption

// ---- Settings ----------------------------------------------------------------------------------

// Where to write, for example "D:/labels". Empty: "annotations" in the project's folder, else
// beside the slide.
def outputFolder = ""

// ------------------------------------------------------------------------------------------------

def script = binding.variables["qupath.script.file"]
def folder = script ? new File(script).getParentFile()
    : new File(PathPrefs.userPathProperty().get() ?: "", "scripts/WSI Suite")
def (Ui, Slide, Nuclei, NucleiData) = evaluate(new File(folder, "Libraries.gvy"))
    .call("Ui", "Slide", "Nuclei", "NucleiData")

def imageData = getCurrentImageData()
def isShown = getQuPath() != null && getQuPath().getImageData() == imageData
def ui = Ui.newInstance("Export annotations for training", Dialogs, isShown ? getQuPath() : null)

ui.run {
    def slide = Slide.file(imageData)
    def written = outputFolder ? new File(outputFolder)
        : getProject() ? new File(buildFilePath(PROJECT_BASE_DIR, "annotations"))
        : new File(slide.getParentFile(), "annotations")
    written.mkdirs()
    def objects = new LinkedHashMap(getAnnotationObjects().collectEntries { [it, null] })
    def states = Nuclei.states(imageData)
    objects.putAll(states)
    if (!objects)
        throw new IllegalStateException("This image has neither annotations nor nuclei of wsi-suite.")
    def file = new File(written, slide.getName().replaceFirst(/(?<=.)\.[^.]*$/, "") + ".geojson")
    if (file.exists() && !ui.ask("${file} is there already. Replace it?", true, false))
        return
    def partial = new File(file.getPath() + ".partial")
    try {
        NucleiData.writeGeoJson(objects, partial)
        Files.move(partial.toPath(), file.toPath(), StandardCopyOption.REPLACE_EXISTING)
    } catch (IOException problem) {
        throw new IllegalStateException("${file} cannot be written (${problem.getMessage()}).", problem)
    } finally {
        partial.delete()
    }
    def numbers = states.values().countBy { it }.collect { "${it.value} ${it.key}" }.join(", ")
    ui.say("Wrote ${objects.size() - states.size()} annotations and ${states.size()} nuclei" +
        "${numbers ? ' (' + numbers + ')' : ''} to ${file}")
}
