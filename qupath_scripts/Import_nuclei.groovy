/*
 * Import the nuclei that wsi-suite found into the open image. For QuPath 0.4 - 0.7.
 *
 * `wsi-suite run SLIDE --out RESULTS` writes nuclei.geojson (or several nuclei*.geojson) to
 * RESULTS/<name of the slide's file>/. This script reads all of them. A nucleus that was imported
 * before is replaced, so the script can be run again. Nothing is changed where it fails.
 */

import qupath.lib.images.servers.AffineTransformImageServer
import qupath.lib.images.servers.CroppedImageServer
import qupath.lib.images.servers.RotatedImageServer

// ---- Settings ----------------------------------------------------------------------------------

// The folder given to --out, for example "D:/results".
// Empty: "results" in the project's folder, else "results" beside the slide.
def resultsFolder = ""

// true: first remove every detection of the image, whoever made it.
def removeOtherDetections = false

// ------------------------------------------------------------------------------------------------

try {
    def slide = slideFile()
    def files = nucleiFiles(slide, resultsFolder)
    def nuclei = files.collectMany { readNuclei(it) }
    def ids = nuclei.collect { it.getID() } as Set
    def outdated = getDetectionObjects().findAll { removeOtherDetections || it.getID() in ids }
    removeObjects(outdated, true)
    addObjects(nuclei)
    println "Imported ${nuclei.size()} nuclei from ${files*.getPath().join(', ')}"
} catch (IllegalStateException problem) {
    if (getQuPath() == null)  // no window, no dialog: the script has to fail
        throw problem
    Dialogs.showErrorMessage("Import nuclei", problem.getMessage())
}

/** Return the file of the open image, which has to show the slide as it was scanned. */
File slideFile() {
    def imageData = getCurrentImageData()
    if (imageData == null)
        throw new IllegalStateException("No image is open: open the slide first.")
    def server = imageData.getServer()
    def moved = [AffineTransformImageServer, CroppedImageServer, RotatedImageServer]
    if (moved.any { it.isInstance(server) })
        throw new IllegalStateException("This image is rotated or cropped, so the nuclei would " +
            "lie elsewhere: add the slide to the project as it is, and open that.")
    def path = server.getURIs().isEmpty() ? null : GeneralTools.toPath(server.getURIs()[0])
    if (path == null)
        throw new IllegalStateException("The open image is not a file.")
    return path.toFile()
}

/** Return the GeoJSON files of a slide, in the order of their names. */
List<File> nucleiFiles(File slide, String resultsFolder) {
    def results = resultsFolder ? [new File(resultsFolder)] : [new File(slide.getParent(), "results")]
    if (!resultsFolder && getProject() != null)
        results.add(0, new File(buildFilePath(PROJECT_BASE_DIR, "results")))
    def stem = slide.getName().replaceFirst(/(?<=.)\.[^.]*$/, "")
    // <stem>-<6 hexadecimal digits> is used where two slides of one name went to the same folder.
    def isOfSlide = { it.isDirectory() && it.getName() ==~ /\Q${stem}\E(-[0-9a-f]{6})?/ }
    def folders = results.collectMany { (it.listFiles() ?: []).findAll(isOfSlide) }
    if (folders.isEmpty())
        throw new IllegalStateException("No results of ${slide.getName()} in " +
            "${results.join(' or ')}: set resultsFolder at the top of this script to the folder " +
            "given to --out.")
    if (folders.size() > 1)
        throw new IllegalStateException("Several results of ${slide.getName()}: " +
            "${folders.join(', ')}. Leave one of them there, and run the script again.")
    def files = (folders[0].listFiles() ?: []).findAll { it.getName() ==~ /nuclei.*\.geojson/ }
    if (files.isEmpty())
        throw new IllegalStateException("No nuclei*.geojson in ${folders[0]}: wsi-suite has not " +
            "finished this slide; run it again.")
    return files.sort { it.getName() }
}

/** Return the nuclei of one file. */
List readNuclei(File file) {
    try {
        return PathIO.readObjects(file)
    } catch (Exception problem) {
        throw new IllegalStateException("${file} cannot be read (${problem.getMessage()}): run " +
            "wsi-suite again with --overwrite.", problem)
    }
}
