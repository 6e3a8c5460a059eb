/*
 * Set the thresholds of 1+, 2+ and 3+ and see classes and scores change. For QuPath 0.4 - 0.7.
 *
 * Nuclei in the selected annotations, or all of the image, are classified again from the optical
 * density that is stored with them ("Nucleus: DAB OD mean", else "Disc: DAB OD mean"), each
 * compartment with thresholds of its own. Nuclei that could not be measured stay without an
 * intensity. Closing the window with Cancel puts everything back.
 */

import javafx.beans.value.ChangeListener
import javafx.geometry.Insets
import javafx.scene.Scene
import javafx.scene.control.Button
import javafx.scene.control.Label
import javafx.scene.control.ScrollPane
import javafx.scene.control.Slider
import javafx.scene.control.TextField
import javafx.scene.layout.BorderPane
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.Region
import javafx.scene.layout.VBox
import javafx.stage.Screen
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

// In words: "Negative 10 (5.0 %)   1+ 30 (15.0 %) ..." and, below, "H-score 123.4, 61.5 % positive".
def describe = { int[] counts ->
    def n = counts.sum()
    def parts = [Thresholds.GRADES, counts as List].transpose().collect { name, count ->
        String.format(Locale.ROOT, "%s %d (%.1f %%)", name, count, n ? 100d * count / n : 0d)
    }
    parts.join("   ") + "\n" + Thresholds.inWords(counts).capitalize()
}

ui.run {
    if (imageData == null)
        throw new IllegalStateException("No image is open: open the slide first.")
    def hierarchy = imageData.getHierarchy()
    def (annotations, where) = Slide.regions(getSelectedObjects(), "")
    def compartments = Thresholds.of(Slide.detections(imageData, annotations))
    if (!compartments)
        throw new IllegalStateException("No nucleus ${annotations ? 'in the selection' : 'here'} " +
            "has the measurement '${Thresholds.MEASUREMENTS[0]}': detect nuclei first.")

    def log = { chosen ->
        def names = chosen.keySet().findAll { it != "All nuclei" }
            .collectMany { name -> [name] + Thresholds.GRADES.collect { "${name}: ${it}".toString() } }
        Ui.offerClasses(getQuPath(), getProject(), names.collectEntries { [it, null] })
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

    // A second window would take what the first one shows for what was there before.
    def windows = getQuPath().getStage().getProperties()
    if (Ui.onScreen { windows["wsi-suite thresholds"]?.tap { toFront() } })
        return

    def before = new IdentityHashMap()
    compartments.each { it.objects.each { object -> before[object] = object.getPathClass() } }
    def remembered = Thresholds.remembered(imageData.getProperty(Thresholds.REMEMBERED))
    def chosen = compartments.collectEntries { [it.name, remembered[it.name] ?: Thresholds.DEFAULT] }
    largest = Math.max(largest, chosen.values().collect { it[2] }.max() + 0.1)
    // One thread classifies; while it does, only the newest wish waits.
    def worker = new ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS, new LinkedBlockingQueue(1),
        { new Thread(it).tap { it.setDaemon(true) } }, new ThreadPoolExecutor.DiscardOldestPolicy())
    def show = { changed, work ->
        worker.execute {
            work.call()
            hierarchy.fireObjectClassificationsChangedEvent(this, changed)
        }
    }

    Ui.onScreen {
        def stage = new Stage()
        def together = new Label()
        def tell = {
            def counts = compartments.collect { it.counts(chosen[it.name]) as List }
            def sums = counts.transpose()*.sum() as int[]
            together.setText(compartments.size() > 1 ? "All together: " + describe(sums) : "")
        }
        def content = new VBox(16)
        content.setPadding(new Insets(16))
        def header = new Label("Nuclei of ${where == 'all tissue' ? 'the whole image' : where} in " +
            "${getCurrentImageName()}: from which optical density of the brown " +
            "stain (DAB) on is a nucleus 1+, 2+, 3+?")
        header.setWrapText(true)
        header.setMinHeight(Region.USE_PREF_SIZE)
        content.getChildren().add(header)
        compartments.each { compartment ->
            def result = new Label()
            def grid = new GridPane()
            grid.setHgap(10)
            grid.setVgap(4)
            def moving = Thresholds.moving(chosen[compartment.name])
            def sliders = (0..2).collect { new Slider(0, largest, moving.values[it]) }
            def fields = (0..2).collect { new TextField() }
            def busy = false  // while sliders are moved by this script, not by hand
            def refresh = { boolean classify ->
                busy = true
                def values = chosen[compartment.name] = moving.values
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
                moving.move(index, value, largest)
                refresh(true)
            }
            ["1+", "2+", "3+"].eachWithIndex { name, index ->
                sliders[index].setPrefWidth(360)
                fields[index].setPrefColumnCount(5)
                sliders[index].valueProperty().addListener({ property, old, now ->
                    if (!busy)
                        set(index, now)
                } as ChangeListener)
                def take = {
                    def typed = Thresholds.parsed(fields[index].getText())
                    if (typed == null)
                        refresh(false)
                    else if (Math.abs(typed - moving.values[index]) > 0.0005d)
                        set(index, typed)
                }
                fields[index].setOnAction { take() }
                fields[index].focusedProperty().addListener({ property, old, now ->
                    if (!now)
                        take()
                } as ChangeListener)
                grid.addRow(index, new Label("${name} from"), sliders[index], fields[index])
            }
            def title = new Label(compartment.name)
            title.setStyle("-fx-font-weight: bold")
            content.getChildren().add(new VBox(6, title, grid, result))
            refresh(true)
        }
        def keep = new Button("Keep")
        keep.setDefaultButton(true)
        def kept = false
        keep.setOnAction {
            kept = true
            log(chosen)
            stage.close()
        }
        def cancel = new Button("Cancel")
        cancel.setCancelButton(true)  // the Escape key, too
        cancel.setOnAction { stage.close() }
        stage.setOnHidden {
            windows.remove("wsi-suite thresholds")
            if (!kept)
                show(before.keySet()) { before.each { object, pathClass -> object.setPathClass(pathClass) } }
            worker.shutdown()
        }
        content.getChildren().add(together)
        def buttons = new HBox(8, keep, cancel)
        buttons.setPadding(new Insets(8, 16, 16, 16))
        def scroll = new ScrollPane(content)  // many compartments do not fit onto a screen
        scroll.setFitToWidth(true)
        def pane = new BorderPane(scroll)
        pane.setBottom(buttons)
        pane.setMaxHeight(0.9d * Screen.getPrimary().getVisualBounds().getHeight())
        stage.setTitle(ui.title)
        stage.setScene(new Scene(pane))
        windows["wsi-suite thresholds"] = stage
        ui.open(stage)
    }
}
