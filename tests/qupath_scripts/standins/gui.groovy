package qupath.lib.gui

/** What keeps compiled libraries; scripts are told of no window. */
class QuPathGUI {
    static final QuPathGUI INSTANCE = new QuPathGUI()

    final Object stage = new Stage()

    static QuPathGUI getInstance() {
        INSTANCE
    }

    static class Stage {
        final Map properties = [:]
    }
}
