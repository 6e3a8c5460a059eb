/*
 * Put wsi-suite's commands into QuPath's menu Extensions > WSI Suite. For QuPath 0.5 - 0.7.
 *
 * Run it once: it then names itself as QuPath's start-up script, so that the menu is there at every
 * start. Where another start-up script is set, that one stays, and this script says which line to
 * add to it. (QuPath 0.4 has no start-up scripts: the menu lasts until QuPath is closed.)
 */

def script = binding.variables["qupath.script.file"]
def folder = script ? new File(script).getParentFile()
    : new File(PathPrefs.userPathProperty().get() ?: "", "scripts/WSI Suite")
def own = new File(folder, "Install_menu.groovy")
def libraries = evaluate(new File(folder, "Libraries.gvy"))

if (getQuPath() == null)
    throw new IllegalStateException("QuPath runs without a window, so there is no menu.")
["Detect nuclei and score", "Set intensity thresholds", "Import nuclei", "Reload from disk",
 "Export annotations for training", "Next field"].each { name ->
    def file = new File(folder, name.replace(" ", "_") + ".groovy")
    getQuPath().installCommand("Extensions>WSI Suite>" + name) {
        // A menu's command runs on the thread that draws: what takes long must leave it.
        Thread.startDaemon(name) {
            try {
                getQuPath().runScript(file, null)
            } catch (Throwable problem) {
                Dialogs.showErrorMessage(name, problem)
            }
        }
    }
}

// What takes seconds is done before somebody waits for it.
def warmUp = { libraries.call("Ui", "Slide", "Service", "GeoJson", "Nuclei", "Thresholds", "Choices") }
if (Platform.isFxApplicationThread()) {  // QuPath starts, and nobody wants to read anything
    Thread.startDaemon("wsi-suite libraries", warmUp)
    return
}
def (Ui) = warmUp.call()
def ui = Ui.newInstance("WSI Suite", Dialogs, getQuPath())
if (!PathPrefs.metaClass.respondsTo(PathPrefs, "startupScriptProperty")) {
    ui.say("Extensions > WSI Suite is there until QuPath is closed. " +
        "From QuPath 0.5 on it can be there always.")
    return
}
def startUp = PathPrefs.startupScriptProperty()
def advice = Ui.startUpAdvice(startUp.get(), own)
if (advice == null)
    startUp.set(own.getAbsolutePath())
ui.say(advice ?: "Extensions > WSI Suite is there, now and at every start of QuPath.")
