package qupath.fx.dialogs

/** Nobody looks: a script that shows a dialog here has forgotten to ask for that. */
class Dialogs {
}
