package qupath.lib.gui

/** A window that shows another image than the one that scripts work on: nobody looks at it. */
class QuPathGUI {
    static final QuPathGUI INSTANCE = new QuPathGUI()

    final Object stage = new Stage()
    final Object imageData = new Object()

    static QuPathGUI getInstance() {
        INSTANCE
    }

    static class Stage {
        final Map properties = [:]
    }
}
