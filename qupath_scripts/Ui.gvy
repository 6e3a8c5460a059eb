/*
 * Dialogs and progress. A library of the scripts in this folder.
 *
 * Where nobody looks (a script without QuPath's window, or one that runs for a whole project)
 * there are no dialogs: what fails is thrown, and nothing is asked.
 */

import javafx.application.Platform
import javafx.scene.control.Alert
import javafx.scene.control.ButtonType
import javafx.scene.control.Dialog
import javafx.scene.control.Label
import javafx.scene.control.ProgressBar
import javafx.scene.layout.Region
import javafx.scene.layout.VBox
import javafx.stage.DirectoryChooser
import javafx.stage.Stage
import org.slf4j.LoggerFactory
import qupath.lib.projects.Project

import java.util.concurrent.CancellationException
import java.util.concurrent.ExecutionException
import java.util.concurrent.FutureTask

class Ui {

    /** Width of a dialog, in pixels of the screen; longer lines are wrapped. */
    private static final double WIDTH = 520

    final String title
    final boolean interactive
    private final Class dialogs
    private final Object qupath

    /**
     * @param title of every window
     * @param dialogs QuPath's `Dialogs`, whose package changed in 0.5: scripts know it by its name
     * @param qupath QuPath's window, in the middle of which dialogs stand; null where nobody looks
     */
    Ui(String title, Class dialogs, Object qupath) {
        this.title = title
        this.dialogs = dialogs
        this.qupath = qupath
        this.interactive = qupath != null
    }

    /** Do a script's work, never on the thread that draws, and show what goes wrong. */
    void run(Closure work) {
        if (!interactive)
            work.call()
        else if (Platform.isFxApplicationThread())
            Thread.startDaemon(title) { showFailure(work) }
        else
            showFailure(work)
    }

    private void showFailure(Closure work) {
        def log = LoggerFactory.getLogger("wsi-suite")
        try {
            work.call()
        } catch (CancellationException ignored) {
            remark("Cancelled. Nothing was changed.")
        } catch (IllegalStateException problem) {
            log.warn("{}: {}", title, problem.getMessage())
            show(Alert.AlertType.ERROR, problem.getMessage())
        } catch (Throwable problem) {
            log.error(title, problem)
            show(Alert.AlertType.ERROR, "This should not have happened: ${problem}. " +
                "View > Show log has the details.")
        }
    }

    /** Tell a result; it goes to the log, too. */
    void say(String text) {
        println(text)
        if (interactive)
            show(Alert.AlertType.INFORMATION, text)
    }

    /** Tell what needs no answer: shown for some seconds. */
    void remark(String text) {
        println(text)
        if (interactive)
            dialogs.showInfoNotification(title, text)
    }

    /** Return the folder that the user chooses; null: none. */
    File chooseFolder(File start) {
        onScreen {
            def chooser = new DirectoryChooser()
            chooser.setTitle(title)
            chooser.setInitialDirectory(start)
            chooser.showDialog(qupath.getStage())
        }
    }

    /**
     * Ask; where nobody looks the answer is `otherwise`.
     *
     * @param preferred what the Enter key answers; Escape and the window's own button always say no
     */
    boolean ask(String question, boolean otherwise, boolean preferred = otherwise) {
        if (!interactive)
            return otherwise
        def enter = preferred ? ButtonType.YES : ButtonType.NO
        show(Alert.AlertType.CONFIRMATION, question, enter, ButtonType.YES, ButtonType.NO) == ButtonType.YES
    }

    private void show(Alert.AlertType type, String text) {
        show(type, text, ButtonType.OK, ButtonType.OK)
    }

    private ButtonType show(Alert.AlertType type, String text, ButtonType enter, ButtonType... buttons) {
        onScreen {
            def alert = new Alert(type, text, buttons)
            alert.setHeaderText(null)
            buttons.each { alert.getDialogPane().lookupButton(it).setDefaultButton(it == enter) }
            open(alert)
        }
    }

    /** Show a dialog in the middle of QuPath's window and return its result; null: it was closed. */
    Object open(Dialog dialog) {
        dialog.initOwner(qupath.getStage())
        dialog.setTitle(title)
        dialog.setResizable(true)
        def pane = dialog.getDialogPane()
        pane.setPrefWidth(WIDTH)
        pane.setMinHeight(Region.USE_PREF_SIZE)  // a long text is shown whole
        dialog.showAndWait().orElse(null)
    }

    /** Show a window of a script's own in the middle of QuPath's, above it. */
    void open(Stage stage) {
        def owner = qupath.getStage()
        stage.initOwner(owner)
        stage.setOnShown {
            stage.setX(owner.getX() + (owner.getWidth() - stage.getWidth()) / 2)
            stage.setY(Math.max(0d, owner.getY() + (owner.getHeight() - stage.getHeight()) / 2))
        }
        stage.show()
    }

    /**
     * Add classes to the list from which nuclei are given one.
     *
     * @param window QuPath's window, whose list is that of its project; null: there is none
     * @param project the list of this one counts where there is no window; may be null
     * @param colours colours of the classes, by their names
     */
    static void offerClasses(Object window, Project project, Map<String, Integer> colours) {
        if (window == null && project != null)
            Classes.addTo(project, colours)
        if (window == null)
            return
        onScreen {
            def listed = window.getAvailablePathClasses()
            def missing = Classes.missing(listed, colours)
            if (missing)
                listed.addAll(missing)
        }
    }

    /** Do something on the thread that draws, and return what it returns. */
    static Object onScreen(Closure work) {
        if (Platform.isFxApplicationThread())
            return work.call()
        def task = new FutureTask(work)
        Platform.runLater(task)
        try {
            return task.get()
        } catch (ExecutionException problem) {
            throw problem.getCause()
        }
    }

    /** Do work beside a window with its progress, and return what it returns. */
    Object withProgress(String header, Closure work) {
        def progress = new Progress()
        if (!interactive)
            return work.call(progress)
        progress.show(title, header, qupath.getStage())
        try {
            return work.call(progress)
        } finally {
            progress.close()
        }
    }

    /**
     * Return null where a script may become QuPath's start-up script; else what to tell the user,
     * because there is another.
     *
     * @param current path of the start-up script that is set, or null
     * @param own the script
     */
    static String startUpAdvice(String current, File own) {
        def other = current?.trim() ? new File(current.trim()) : null
        // Ours of another folder, as an earlier QuPath's, and one that is gone give way.
        if (other == null || !other.isFile() || other.getName() == own.getName())
            return null
        def path = own.getAbsolutePath().replace("\\", "/")
        "Extensions > WSI Suite is there until QuPath is closed. QuPath's start-up script is " +
            "${other}: to have the menu at every start, add this line to it:\n\n" +
            "getQuPath().runScript(new File(\"${path}\"), null)"
    }

    /** How far work is, and whether someone wants it to end. */
    static class Progress {
        private boolean shown = false
        private boolean committed = false
        private volatile boolean cancelled = false
        // Touched by the thread that draws alone.
        private Dialog dialog
        private Label label
        private ProgressBar bar

        boolean isCancelled() {
            cancelled
        }

        /** Tell how far work is (0 to 1, less where it is not known); false: it is to end. */
        boolean tell(double fraction, String message) {
            if (shown)
                Platform.runLater {
                    def share = fraction < 0 ? "" : " (${Math.round(100 * fraction)} %)"
                    if (!cancelled)
                        label.setText(message.capitalize() + share)
                    bar.setProgress(fraction < 0 ? ProgressBar.INDETERMINATE_PROGRESS : fraction)
                }
            !cancelled
        }

        /** Tell of what cannot be undone: it is cancelled now, or not at all. */
        void commit(String message) {
            synchronized (this) {
                if (cancelled)
                    throw new CancellationException()
                committed = true
            }
            tell(-1, message)
            if (shown)
                Platform.runLater {
                    dialog.getDialogPane().lookupButton(ButtonType.CANCEL).setDisable(true)
                }
        }

        private void show(String title, String header, Object owner) {
            shown = true
            Platform.runLater {
                label = new Label(" ")
                bar = new ProgressBar(ProgressBar.INDETERMINATE_PROGRESS)
                bar.setMaxWidth(Double.MAX_VALUE)
                bar.setMinHeight(Region.USE_PREF_SIZE)
                dialog = new Dialog()
                dialog.initOwner(owner)
                dialog.setTitle(title)
                dialog.setHeaderText(header)
                dialog.getDialogPane().setPrefWidth(WIDTH)
                dialog.getDialogPane().setMinHeight(Region.USE_PREF_SIZE)
                dialog.getDialogPane().setContent(new VBox(8, label, bar))
                dialog.getDialogPane().getButtonTypes().add(ButtonType.CANCEL)
                dialog.setOnCloseRequest { event -> if (cancel()) event.consume() }
                dialog.show()
            }
        }

        /** The Cancel button and the window's own: ask work to end; the window stays until it has. */
        private synchronized boolean cancel() {
            if (committed)
                return false
            cancelled = true
            label.setText("Cancelling ...")
            true
        }

        private void close() {
            synchronized (this) {
                committed = true
            }
            Platform.runLater { dialog.close() }
        }
    }
}
