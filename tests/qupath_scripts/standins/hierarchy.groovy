package qupath.lib.objects.hierarchy

import qupath.lib.objects.PathObject
import qupath.lib.roi.interfaces.ROI

class PathObjectHierarchy {
    private List<PathObject> objects = []
    int events

    Collection<PathObject> getDetectionObjects() {
        objects.findAll { it.isDetection() }
    }

    Collection<PathObject> getAnnotationObjects() {
        objects.findAll { it.isAnnotation() }
    }

    Collection<PathObject> getAllObjects(boolean includeRoot) {
        objects
    }

    Collection<PathObject> getObjectsForROI(Class type, ROI roi) {
        objects.findAll { roi.contains(it.getROI().getCentroidX(), it.getROI().getCentroidY()) }
    }

    boolean addObjects(Collection<? extends PathObject> added) {
        objects.addAll(added)
    }

    void removeObjects(Collection<? extends PathObject> removed, boolean keepChildren) {
        def gone = Collections.newSetFromMap(new IdentityHashMap())
        gone.addAll(removed)
        objects = objects.findAll { !(it in gone) }
    }

    void setHierarchy(PathObjectHierarchy other) {
        objects = other.objects
    }

    void fireObjectClassificationsChangedEvent(Object source, Collection<? extends PathObject> changed) {
        events++
    }
}
