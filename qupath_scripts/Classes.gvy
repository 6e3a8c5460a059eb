/*
 * The classes that nuclei may have, in QuPath's list of classes. A library of the scripts in this
 * folder; `wsi-suite push` loads it, too. Nothing here opens a window or needs one.
 *
 * A nucleus is corrected by giving it another class, and QuPath offers only what stands in its list.
 */

import groovy.transform.CompileStatic
import qupath.lib.objects.classes.PathClass
import qupath.lib.projects.Project

@CompileStatic
class Classes {

    /**
     * Return what a list of classes lacks.
     *
     * A class that stands in the list is left as it is: its colour may be the user's choice. One
     * that does not is given its colour here.
     *
     * @param listed  what stands in the list
     * @param wanted  names such as "Stroma: 1+", each with its colour, 0xRRGGBB; null: QuPath's
     */
    static List<PathClass> missing(Collection<? extends PathClass> listed, Map<String, Integer> wanted) {
        Set<PathClass> standard = new HashSet<PathClass>(standard())
        List<PathClass> missing = []
        for (Map.Entry<String, Integer> entry : wanted.entrySet()) {
            PathClass pathClass = PathClass.fromString(entry.getKey(), entry.getValue())
            if (listed.contains(pathClass) || missing.contains(pathClass))
                continue
            if (entry.getValue() != null && !standard.contains(pathClass))
                pathClass.setColor(entry.getValue())
            missing.add(pathClass)
        }
        return missing
    }

    /** Add to a project's list of classes what it lacks, and return how many classes that were. */
    static int addTo(Project project, Map<String, Integer> wanted) {
        List<PathClass> listed = new ArrayList<PathClass>(project.getPathClasses())
        if (listed.isEmpty())  // a new project: QuPath would show these
            listed.addAll(standard())
        List<PathClass> missing = missing(listed, wanted)
        if (!missing.isEmpty())
            project.setPathClasses(listed + missing)
        return missing.size()
    }

    /**
     * Return the classes of QuPath's own list.
     *
     * To be called before any class such as "Stroma: 1+" is made. That makes a class Stroma, too, which
     * has QuPath's own colour only if QuPath made its own classes before, as its window does.
     */
    static List<PathClass> standard() {
        return [
            PathClass.StandardPathClasses.TUMOR,
            PathClass.StandardPathClasses.STROMA,
            PathClass.StandardPathClasses.IMMUNE_CELLS,
            PathClass.StandardPathClasses.NECROSIS,
            PathClass.StandardPathClasses.OTHER,
            PathClass.StandardPathClasses.REGION,
            PathClass.StandardPathClasses.IGNORE,
            PathClass.StandardPathClasses.POSITIVE,
            PathClass.StandardPathClasses.NEGATIVE,
        ]
    }
}
