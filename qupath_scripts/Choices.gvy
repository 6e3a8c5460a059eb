/*
 * Ask how nuclei are to be scored: for which marker, from which thresholds on. A library of the
 * scripts in this folder.
 */

import javafx.beans.value.ChangeListener
import javafx.geometry.Pos
import javafx.scene.control.ButtonBar
import javafx.scene.control.ButtonType
import javafx.scene.control.CheckBox
import javafx.scene.control.ChoiceBox
import javafx.scene.control.Dialog
import javafx.scene.control.Label
import javafx.scene.control.TextField
import javafx.scene.layout.GridPane
import javafx.scene.layout.HBox
import javafx.scene.layout.Region
import javafx.scene.layout.VBox

class Choices {

    static final List<String> MARKERS = ["not specified", "ER", "PR", "Ki-67", "other"]

    private static final String ABOUT = "Thresholds are optical densities of the brown stain (DAB) in the " +
        "nucleus. Left empty they are ${Thresholds.DEFAULT.join(' / ')}, which are not calibrated for your " +
        "laboratory."

    /**
     * Show what is to be scored, and let the user choose how.
     *
     * @param what is to be scored, as in "2 annotations of slide.svs"
     * @param marker chosen at first; "" is not specified
     * @param thresholds at first; empty: the default ones
     * @param wholeSlide whether at first the whole slide is taken for tissue
     * @return marker, thresholds and wholeSlide as chosen, in the same form; null: cancelled
     */
    static Map<String, Object> ask(Ui ui, String what, String marker, List<Double> thresholds,
            boolean wholeSlide) {
        Ui.onScreen {
            def score = new ButtonType("Score", ButtonBar.ButtonData.OK_DONE)
            def dialog = new Dialog()
            dialog.setHeaderText("Find and score the nuclei in ${what}")
            def markers = new ChoiceBox()
            markers.getItems().setAll(MARKERS)
            markers.setValue(marker in MARKERS ? marker : MARKERS[0])
            def fields = (0..2).collect { index ->
                def field = new TextField(thresholds ? "${thresholds[index]}" : "")
                field.setPromptText("${Thresholds.DEFAULT[index]}")
                field.setPrefColumnCount(4)
                field
            }
            def grid = new GridPane()
            grid.setHgap(10)
            grid.setVgap(8)
            grid.addRow(0, new Label("Marker"), markers)
            def row = new HBox(8)
            ["1+ from", "2+ from", "3+ from"].eachWithIndex { name, index ->
                row.getChildren().addAll(new Label(name), fields[index])
            }
            row.setAlignment(Pos.CENTER_LEFT)
            grid.addRow(1, new Label("Thresholds"), row)
            def whole = new CheckBox("Take the whole slide for tissue (if it is too pale to be found)")
            whole.setSelected(wholeSlide)
            def note = new Label()
            note.setWrapText(true)
            note.setMinHeight(Region.USE_PREF_SIZE)
            dialog.getDialogPane().setContent(new VBox(12, grid, note, whole))
            dialog.getDialogPane().getButtonTypes().addAll(score, ButtonType.CANCEL)
            def button = dialog.getDialogPane().lookupButton(score)
            def check = {
                def valid = risingOf(fields*.getText()) != null
                button.setDisable(!valid)
                note.setText(valid ? ABOUT : "Type three numbers that rise, as in 0.15, 0.35 and 0.55, or " +
                    "leave all three empty.")
            }
            fields.each {
                it.textProperty().addListener({ property, old, now -> check() } as ChangeListener)
            }
            check()
            ui.open(dialog) == score
                ? [marker: markers.getValue() == MARKERS[0] ? "" : markers.getValue(),
                   thresholds: risingOf(fields*.getText()),
                   wholeSlide: whole.isSelected()]
                : null
        }
    }

    /** Return three numbers that rise, or none where all are blank; null for anything else. */
    static List<Double> risingOf(List<String> texts) {
        if (texts.every { !it?.strip() })
            return []
        def numbers = texts.collect { Thresholds.parsed(it) }
        def rising = !(null in numbers) && numbers[0] >= 0 && numbers[0] < numbers[1] && numbers[1] < numbers[2]
        rising ? numbers : null
    }

    /** Return thresholds as they are kept in a preference, and back. */
    static String toRemember(List<Double> thresholds) {
        thresholds.join(" ")
    }

    static List<Double> remembered(String text) {
        def texts = (text ?: "").split(" ") as List
        texts.size() == 3 ? risingOf(texts) ?: [] : []
    }
}
