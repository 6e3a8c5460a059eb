package qupath.lib.objects.classes

class PathClass {
    static final PathClass NULL_CLASS = new PathClass()
    private static final Map<String, PathClass> KNOWN = [:]

    PathClass parentClass
    String name
    Integer color

    static PathClass fromString(String text, Integer color) {
        text.split(": ").inject(null) { PathClass parent, String name -> child(parent, name, color) }
    }

    static PathClass getNegative(PathClass parent) {
        child(parent, "Negative", null)
    }

    static PathClass getOnePlus(PathClass parent) {
        child(parent, "1+", null)
    }

    static PathClass getTwoPlus(PathClass parent) {
        child(parent, "2+", null)
    }

    static PathClass getThreePlus(PathClass parent) {
        child(parent, "3+", null)
    }

    private static PathClass child(PathClass parent, String name, Integer color) {
        def made = new PathClass(parentClass: parent, name: name, color: color)
        KNOWN.putIfAbsent(made.toString(), made) ?: made
    }

    static class StandardPathClasses {
        static final PathClass TUMOR = fromString("Tumor", 0xC80000)
        static final PathClass STROMA = fromString("Stroma", 0x96C896)
        static final PathClass IMMUNE_CELLS = fromString("Immune cells", null)
        static final PathClass NECROSIS = fromString("Necrosis", null)
        static final PathClass OTHER = fromString("Other", null)
        static final PathClass REGION = fromString("Region*", null)
        static final PathClass IGNORE = fromString("Ignore*", null)
        static final PathClass POSITIVE = fromString("Positive", null)
        static final PathClass NEGATIVE = fromString("Negative", null)
    }

    @Override
    String toString() {
        parentClass ? "${parentClass}: ${name}" : name
    }
}

class PathClassTools {
    static PathClass getNonIntensityAncestorClass(PathClass pathClass) {
        while (pathClass != null && pathClass.name in ["Negative", "Positive", "1+", "2+", "3+"])
            pathClass = pathClass.parentClass
        pathClass
    }
}
