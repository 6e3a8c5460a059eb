/*
 * Runs QuPath's scripts against stand-ins. One process for many tests: each line that comes in is
 * JSON {"code": Groovy, "given": {name: value}}; each line that goes out is {"value": ...} or
 * {"error": message, "kind": class}. `code` may name the libraries, and call `run(script, settings)` and `compiles(file)`.
 */

import com.google.gson.Gson
import com.google.gson.GsonBuilder
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.customizers.ImportCustomizer

def (standins, compiled, scripts) = args.collect { new File(it) }
def answers = System.out
System.setOut(new PrintStream(System.err, true))

// Stand-ins name each other, so they are compiled together, to a folder on this program's path.
def unit = new CompilationUnit(new CompilerConfiguration(targetDirectory: compiled))
unit.addSources(standins.listFiles().findAll { it.name.endsWith(".groovy") } as File[])
unit.compile()

def qpex = Class.forName("qupath.lib.gui.scripting.QPEx")
def asInQuPath = new CompilerConfiguration()
def imports = new ImportCustomizer()
qpex.coreClasses.each { imports.addImports(it.name) }
imports.addStaticStars(qpex.name)
asInQuPath.addCompilationCustomizers(imports)

def names = scripts.listFiles()*.name.findAll { it.endsWith(".gvy") && it != "Libraries.gvy" }*.replace(".gvy", "")
def load = new GroovyShell().evaluate(new File(scripts, "Libraries.gvy"))
def libraries = load.call(names as String[])[0].classLoader

def run = { String name, Map settings = [:] ->
    def file = new File(scripts, name)
    def text = file.text
    settings.each { key, value ->
        def setting = /(?m)^def ${key} = .*$/
        assert text =~ setting: "${name} has no setting ${key}"
        text = text.replaceFirst(setting, "def ${key} = ${value}")
    }
    def binding = new Binding("qupath.script.file": file.path)
    new GroovyShell(getClass().classLoader, binding, asInQuPath).evaluate(text, name.replace(".groovy", "Script.groovy"))
}

// Whether a script or a library compiles, each as it is compiled in QuPath; throws what is wrong.
// Libraries see each other. Scripts see none of them: they get them as objects, when they run.
def compiles = { File file ->
    def isScript = file.name.endsWith(".groovy")
    def seen = isScript ? getClass().classLoader : libraries
    def configuration = isScript ? asInQuPath : new CompilerConfiguration()
    new GroovyClassLoader(seen, configuration).parseClass(file) != null
}

System.in.eachLine("UTF-8") { line ->
    def call = new Gson().fromJson(line, Map)
    def answer
    try {
        def binding = new Binding(call.given + [run: run, compiles: compiles])
        answer = [value: new GroovyShell(libraries, binding, asInQuPath).evaluate(call.code)]
    } catch (Throwable problem) {
        answer = [error: problem.message ?: "", kind: problem.class.simpleName]
    }
    answers.println(new GsonBuilder().serializeNulls().serializeSpecialFloatingPointValues().create().toJson(answer))
    answers.flush()
}
