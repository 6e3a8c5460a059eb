/*
 * The selected field is done: go to the next one. For QuPath 0.4 - 0.7.
 *
 * Fields are the annotations of the class "Field: to do" that `wsi-suite dataset sample --project`
 * chose. The selected one becomes "Field: done", the image is saved, and the next one that is to do
 * is selected and shown; after the last one of an image the next image with some is opened. With no
 * field selected nothing is marked. `wsi-suite dataset import` takes those that are done.
 *
 * It needs no other file, so that a project brings it along: Automate > Project scripts.
 */

import javafx.application.Platform
import qupath.lib.objects.classes.PathClass

def toDo = PathClass.fromString("Field: to do")
def done = PathClass.fromString("Field: done")
def waiting = { hierarchy ->
    hierarchy.getAnnotationObjects().findAll { it.getPathClass() == toDo }.sort { it.getName() ?: "" }
}

def imageData = getCurrentImageData()
if (imageData == null)
    throw new IllegalStateException("Open an image of the project first.")
def hierarchy = imageData.getHierarchy()
def selected = hierarchy.getSelectionModel().getSelectedObject()
if (selected != null && selected.getPathClass() == toDo) {
    selected.setPathClass(done)
    hierarchy.fireObjectClassificationsChangedEvent(this, [selected])
    getProjectEntry()?.saveImageData(imageData)
}

def window = getQuPath()?.getImageData() == imageData ? getQuPath() : null
def next = waiting(hierarchy).find()
if (next != null) {
    hierarchy.getSelectionModel().setSelectedObject(next)
    def roi = next.getROI()
    println "${next.getName()} is next, of ${waiting(hierarchy).size()} to do in this image"
    if (window != null) {
        Platform.runLater {
            def viewer = window.getViewer()
            viewer.setDownsampleFactor(1.2d * Math.max(roi.getBoundsWidth() / viewer.getWidth(),
                roi.getBoundsHeight() / viewer.getHeight()))
            viewer.setCenterPixelLocation(roi.getCentroidX(), roi.getCentroidY())
        }
    }
    return
}

def here = getProjectEntry()
def other = getProject()?.getImageList()?.find { entry ->
    entry != here && entry.hasImageData() && waiting(entry.readHierarchy())
}
println other == null ? "All fields are done." : "${other.getImageName()} has the next field"
if (window != null && other != null)
    Platform.runLater { window.openImageEntry(other) }
else if (window != null)
    Dialogs.showInfoNotification("Next field", "All fields are done.")
