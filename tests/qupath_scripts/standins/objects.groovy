package qupath.lib.objects

import qupath.lib.measurements.MeasurementList
import qupath.lib.objects.classes.PathClass
import qupath.lib.roi.interfaces.ROI

class PathObject {
    UUID iD = UUID.randomUUID()
    String name
    boolean locked
    boolean annotation
    ROI rOI
    PathClass pathClass
    MeasurementList measurementList = new MeasurementList()
    private final Map<String, String> metadata = [:]

    ROI getROI() {
        rOI
    }

    UUID getID() {
        iD
    }

    void setID(UUID id) {
        iD = id
    }

    boolean isDetection() {
        !annotation && !isTMACore()
    }

    boolean isTMACore() {
        false
    }

    protected Object storeMetadataValue(String key, String value) {
        metadata.put(key, value)
    }

    protected Object retrieveMetadataValue(String key) {
        metadata[key]
    }
}

class TMACoreObject extends PathObject {
    boolean missing

    @Override
    boolean isTMACore() {
        true
    }
}

class PathObjects {
    static PathObject createDetectionObject(ROI roi) {
        new PathObject(rOI: roi)
    }

    static PathObject createDetectionObject(ROI roi, PathClass pathClass) {
        new PathObject(rOI: roi, pathClass: pathClass)
    }

    static PathObject createDetectionObject(ROI roi, PathClass pathClass, MeasurementList measurements) {
        new PathObject(rOI: roi, pathClass: pathClass, measurementList: measurements ?: new MeasurementList())
    }

    static PathObject createAnnotationObject(ROI roi, PathClass pathClass, MeasurementList measurements) {
        new PathObject(rOI: roi, pathClass: pathClass, annotation: true,
            measurementList: measurements ?: new MeasurementList())
    }

    static PathObject createAnnotationObject(ROI roi, PathClass pathClass) {
        new PathObject(rOI: roi, pathClass: pathClass, annotation: true)
    }
}
