package qupath.lib.plugins.workflow

class Workflow {
    final List<DefaultScriptableWorkflowStep> steps = []

    void addStep(DefaultScriptableWorkflowStep step) {
        steps << step
    }
}

class DefaultScriptableWorkflowStep {
    final String name, script
    final Map parameters

    DefaultScriptableWorkflowStep(String name, Map parameters, String script) {
        this.name = name
        this.parameters = parameters
        this.script = script
    }
}
