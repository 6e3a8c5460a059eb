/*
 * Load the libraries of this folder. Scripts evaluate this file; it returns a closure that takes
 * names of libraries and returns their classes.
 *
 * Compiling takes seconds, so classes are kept with QuPath's window until one of the files changes.
 */

import org.codehaus.groovy.control.CompilerConfiguration

def folder = new File(getClass().getProtectionDomain().getCodeSource().getLocation().toURI()).getParentFile()

def load = { String... names ->
    def files = folder.listFiles().findAll { it.getName().endsWith(".gvy") }
    def state = files.collectEntries { [it.getPath(), it.lastModified()] }
    def window = qupath.lib.gui.QuPathGUI.getInstance()?.getStage()
    def kept = window?.getProperties()?.get("wsi-suite libraries")
    def loader = kept?.state == state ? kept.loader : null
    if (loader == null) {
        def configuration = new CompilerConfiguration(scriptExtensions: ["gvy"] as Set)
        loader = new GroovyClassLoader(GroovyObject.getClassLoader(), configuration)
        loader.addClasspath(folder.getPath())
        loader.loadClass("Positions")  // its inner classes are known to the others only then
        window?.getProperties()?.put("wsi-suite libraries", [state: state, loader: loader])
    }
    names.collect { loader.loadClass(it) }
}

return { String... names ->
    synchronized (GroovyObject) {  // two scripts at a time would compile the same
        load(names)
    }
}
