/*
 * Show what another program wrote into the open image. For QuPath 0.4 - 0.7.
 *
 * `wsi-suite push` writes into a project's files. QuPath does not see that while it has the image
 * open, and would write its older state over it when the image is closed. This script takes over
 * what is on disk; what was changed in the window since the last time it was saved is lost, so it
 * asks.
 */

def script = binding.variables["qupath.script.file"]
def folder = script ? new File(script).getParentFile()
    : new File(PathPrefs.userPathProperty().get() ?: "", "scripts/WSI Suite")
def (Ui, Nuclei, Thresholds) = evaluate(new File(folder, "Libraries.gvy"))
    .call("Ui", "Nuclei", "Thresholds")

def imageData = getCurrentImageData()
def isShown = getQuPath() != null && getQuPath().getImageData() == imageData
def ui = Ui.newInstance("Reload from disk", Dialogs, isShown ? getQuPath() : null)

ui.run {
    def entry = imageData == null ? null : getProjectEntry()
    if (entry == null)
        throw new IllegalStateException("No image of a project is open: open the one that was pushed to.")
    if (!entry.hasImageData())
        throw new IllegalStateException("The project holds no data of ${entry.getImageName()} yet: " +
            "nothing was pushed to it.")
    if (imageData.isChanged() && !ui.ask("This image was changed here since it was saved. Lose these " +
            "changes, and show what is on disk?", false))
        return

    def saved = entry.readImageData()
    try {
        imageData.setImageType(saved.getImageType())
        if (saved.getColorDeconvolutionStains() != null)
            imageData.setColorDeconvolutionStains(saved.getColorDeconvolutionStains())
        // Without the record of what was pushed, every nucleus would count as deleted or added.
        [Nuclei.RECORD, Nuclei.SCALE, Thresholds.REMEMBERED].each { key ->
            if (saved.getProperty(key) == null)
                imageData.removeProperty(key)
            else
                imageData.setProperty(key, saved.getProperty(key))
        }
        imageData.getHierarchy().setHierarchy(saved.getHierarchy())
        imageData.setChanged(false)
    } finally {
        saved.getServer().close()
    }
    def count = imageData.getHierarchy().getDetectionObjects().size()
    ui.remark("Reloaded ${entry.getImageName()}: ${count} detections")
}
