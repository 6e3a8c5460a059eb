/*
 * Set the thresholds of 1+, 2+ and 3+ and see classes and scores change. For QuPath 0.4 - 0.7.
 *
 * Nuclei in the selected annotations, or all of the image, are classified anew from the optical
 * density that is stored with them ("Nucleus: DAB OD mean", else "Disc: DAB OD mean"), each
 * compartment with thresholds of its own. Nuclei that could not be measured stay without an
 * intensity. Closing the window with Cancel puts everything back.
 */

import javafx.geometry.Insets
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.Label
import javafx.scene.control.Slider
import javafx.scene.control.TextField
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.VBox
import javafx.stage.Stage
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep

import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit

// ---- Settings ----------------------------------------------------------------------------------

// Where the sliders end, in units of optical density.
def largest = 1.5

// Without a window these are used for every compartment.
def thresholds = [0.2, 0.4, 0.6]

// ------------------------------------------------------------------------------------------------

def script = binding.variables["qupath.script.file"]
def folder = script ? new File(script).getParentFile()
    : new File(PathPrefs.userPathProperty().get() ?: "", "scripts/WSI Suite")
def (Ui, Slide, Thresholds) = evaluate(new File(folder, "Libraries.gvy"))
    .call("Ui", "Slide", "Thresholds")

def imageData = getCurrentImageData()
def isShown = getQuPath() != null && getQuPath().getImageData() == imageData
def ui = Ui.newInstance("Set intensity thresholds", Dialogs, isShown ? getQuPath() : null)

// In words: "Negative 10 (5.0 %), 1+ 30 (15.0 %), ... H-score 123.4".
def describe = { int[] counts ->
    def n = counts.sum()
    def parts = [Thresholds.GRADES, counts as List].transpose().collect { name, count ->
        String.format(Locale.ROOT, "%s %d (%.1f %%)", name, count, n ? 100d * count / n : 0d)
    }
    def score = n ? String.format(Locale.ROOT, "H-score %.1f", Thresholds.hScore(counts)) : "No H-score"
    parts.join("   ") + "\n" + score
}

ui.run {
    if (imageData == null)
        throw new IllegalStateException("No image is open: open the slide first.")
    def hierarchy = imageData.getHierarchy()
    def annotations = getSelectedObjects().findAll { it.isAnnotation() && it.getROI().isArea() }
    def compartments = Thresholds.of(Slide.detections(imageData, annotations))
    if (!compartments)
        throw new IllegalStateException("No nucleus ${annotations ? 'in the selection' : 'here'} " +
            "has the measurement '${Thresholds.MEASUREMENTS[0]}': detect nuclei first.")

    def log = { chosen ->
        imageData.setProperty(Thresholds.REMEMBERED, Thresholds.toRemember(chosen))
        imageData.getHistoryWorkflow().addStep(new DefaultScriptableWorkflowStep(
            "Set intensity thresholds (wsi-suite)",
            chosen.collectEntries { [it.key, it.value.toString()] },
            "// Run Set_intensity_thresholds.groovy here: ${chosen}".toString()))
    }
    if (!ui.interactive) {
        def chosen = compartments.collectEntries { [it.name, thresholds.collect { (double) it }] }
        compartments.each { it.apply(chosen[it.name]) }
        def changed = compartments.collectMany { it.objects }
        hierarchy.fireObjectClassificationsChangedEvent(this, changed)
        log(chosen)
        compartments.each { println "${it.name}: ${describe(it.counts(chosen[it.name]))}" }
        return
    }

    def before = new IdentityHashMap()
    compartments.each { it.objects.each { object -> before[object] = object.getPathClass() } }
    def remembered = Thresholds.remembered(imageData.getProperty(Thresholds.REMEMBERED))
    def chosen = compartments.collectEntries { [it.name, remembered[it.name] ?: Thresholds.DEFAULT] }
    // One thread classifies; while it does, only the newest wish waits.
    def worker = new ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS, new LinkedBlockingQueue(1),
        { new Thread(it).tap { it.setDaemon(true) } }, new ThreadPoolExecutor.DiscardOldestPolicy())
    def show = { changed, work ->
        worker.execute {
            work.call()
            hierarchy.fireObjectClassificationsChangedEvent(this, changed)
        }
    }

    Platform.runLater {
        def stage = new Stage()
        def together = new Label()
        def tell = {
            def counts = compartments.collect { it.counts(chosen[it.name]) as List }
            def sums = counts.transpose()*.sum() as int[]
            together.setText("All together: " + describe(sums))
        }
        def content = new VBox(16)
        content.setPadding(new Insets(16))
        compartments.each { compartment ->
            def result = new Label()
            def grid = new GridPane()
            grid.setHgap(10)
            grid.setVgap(4)
            def sliders = (0..2).collect { new Slider(0, largest, chosen[compartment.name][it]) }
            def fields = (0..2).collect { new TextField() }
            def busy = false  // while sliders are moved by this script, not by hand
            def refresh = { boolean classify ->
                busy = true
                def values = chosen[compartment.name]
                (0..2).each {
                    sliders[it].setValue(values[it])
                    fields[it].setText(String.format(Locale.ROOT, "%.3f", values[it]))
                }
                busy = false
                result.setText(describe(compartment.counts(values)) +
                    (compartment.notMeasurable ? "   (${compartment.notMeasurable} not measurable)" : ""))
                tell()
                if (classify)
                    show(compartment.objects) { compartment.apply(values) }
            }
            def set = { int index, double value ->
                chosen[compartment.name] = Thresholds.moved(chosen[compartment.name], index, value, largest)
                refresh(true)
            }
            ["1+", "2+", "3+"].eachWithIndex { name, index ->
                sliders[index].setPrefWidth(360)
                fields[index].setPrefColumnCount(5)
                sliders[index].valueProperty().addListener({ property, old, now ->
                    if (!busy)
                        set(index, now)
                } as javafx.beans.value.ChangeListener)
                fields[index].setOnAction {
                    def typed = fields[index].getText().replace(",", ".")
                    typed.isDouble() ? set(index, typed as double) : refresh(false)
                }
                grid.addRow(index, new Label("${name} from"), sliders[index], fields[index])
            }
            def title = new Label(compartment.name)
            title.setStyle("-fx-font-weight: bold")
            content.getChildren().add(new VBox(6, title, grid, result))
            refresh(true)
        }
        def keep = new Button("Keep")
        keep.setDefaultButton(true)
        keep.setOnAction {
            log(chosen)
            stage.setOnHidden(null)
            stage.close()
            worker.shutdown()
        }
        def cancel = new Button("Cancel")
        cancel.setCancelButton(true)
        cancel.setOnAction { stage.close() }
        stage.setOnHidden {
            show(before.keySet()) { before.each { object, pathClass -> object.setPathClass(pathClass) } }
            worker.shutdown()
        }
        content.getChildren().addAll(together, new HBox(8, keep, cancel))
        stage.initOwner(getQuPath().getStage())
        stage.setTitle("Set intensity thresholds")
        stage.setScene(new Scene(content))
        stage.show()
    }
}
