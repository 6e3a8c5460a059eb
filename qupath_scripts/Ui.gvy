/*
 * Dialogs and progress. A library of the scripts in this folder.
 *
 * Where nobody looks (a script without QuPath's window, or one that runs for a whole project)
 * there are no dialogs: what fails is thrown, and nothing is asked.
 */

import javafx.application.Platform
import javafx.scene.control.ButtonType
import javafx.scene.control.Dialog
import javafx.scene.control.Label
import javafx.scene.control.ProgressBar
import javafx.scene.layout.VBox
import org.slf4j.LoggerFactory

import java.util.concurrent.CancellationException

class Ui {

    final String title
    final boolean interactive
    private final Class dialogs
    private final Object qupath

    /**
     * @param title of every window
     * @param dialogs QuPath's `Dialogs`, whose package changed in 0.5: scripts know it by its name
     * @param qupath QuPath's window; null where nobody looks
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
        try {
            work.call()
        } catch (CancellationException ignored) {
            dialogs.showInfoNotification(title, "Cancelled. Nothing was changed.")
        } catch (IllegalStateException problem) {
            dialogs.showErrorMessage(title, problem.getMessage())
        } catch (Throwable problem) {
            LoggerFactory.getLogger("wsi-suite").error(title, problem)
            dialogs.showErrorMessage(title, "This should not have happened: ${problem}. " +
                "View > Show log has the details.")
        }
    }

    /** Tell a result; it goes to the log, too. */
    void say(String text) {
        println(text)
        if (interactive)
            dialogs.showMessageDialog(title, text)
    }

    /** Ask; where nobody looks the answer is `otherwise`. */
    boolean ask(String question, boolean otherwise) {
        interactive ? dialogs.showYesNoDialog(title, question) : otherwise
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
                label = new Label()
                bar = new ProgressBar(ProgressBar.INDETERMINATE_PROGRESS)
                bar.setPrefWidth(440)
                dialog = new Dialog()
                dialog.initOwner(owner)
                dialog.setTitle(title)
                dialog.setHeaderText(header)
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
