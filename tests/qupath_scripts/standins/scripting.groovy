package qupath.lib.gui.scripting

import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData
import qupath.lib.projects.Project
import qupath.lib.projects.ProjectImageEntry

/** What scripts may call without a prefix; the image and what is selected are set by the tests. */
class QPEx {
    static final String PROJECT_BASE_DIR = "{%PROJECT}"

    static ImageData imageData
    static Collection selected = []
    static Project project
    static File projectFolder
    static ProjectImageEntry entry

    static List<Class> getCoreClasses() {
        ["qupath.lib.gui.QuPathGUI", "qupath.lib.gui.prefs.PathPrefs", "qupath.fx.dialogs.Dialogs",
         "javafx.application.Platform", "qupath.lib.common.GeneralTools", "qupath.lib.io.GsonTools",
         "qupath.lib.objects.classes.PathClass"].collect { Class.forName(it, false, QPEx.classLoader) }
    }

    /** No window: nobody looks. */
    static QuPathGUI getQuPath() {
        null
    }

    static ImageData getCurrentImageData() {
        imageData
    }

    static Collection getSelectedObjects() {
        selected
    }

    static Collection getAnnotationObjects() {
        imageData.hierarchy.annotationObjects
    }

    static Project getProject() {
        project
    }

    static ProjectImageEntry getProjectEntry() {
        entry
    }

    static String buildFilePath(String... parts) {
        parts.collect { it == PROJECT_BASE_DIR ? projectFolder.path : it }.join(File.separator)
    }
}
