/*
 * Nuclei of wsi-suite between QuPath 0.4 - 0.7 and files: made from columns, written to files.
 *
 * A library, not a script; Nuclei.gvy is loaded before it.
 */

import com.google.gson.Gson
import groovy.transform.CompileStatic
import qupath.lib.geom.Point2
import qupath.lib.io.GsonTools
import qupath.lib.measurements.MeasurementList
import qupath.lib.measurements.MeasurementListFactory
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs
import qupath.lib.roi.interfaces.ROI

@CompileStatic
class NucleiData {

    /**
     * The columns of nuclei that detections are made from, N rows each.
     *
     * Coordinates are pixels of the full resolution. Rings and bounds have rows only for nuclei of
     * that kind, in their order.
     */
    static class Columns {
        long[] ids             // two a nucleus: the halves of a UUID
        byte[] kind            // 0 point, 1 ellipse, 2 polygon
        double[] points        // x, y of the centre
        double[] bounds        // left, top, right, bottom of an ellipse
        double[] rings         // x, y of each vertex of a polygon
        int vertices           // of one polygon
        double[] centroid      // x, y of the shape
        double[] area          // of the shape
        byte[] compartment     // index into compartments
        String[] compartments
        byte[] pathClass       // index into pathClasses
        String[] pathClasses
        int[] colours          // packed RGB; a class that QuPath knows keeps its own
        String[] names         // of measurements
        double[][] values      // of measurements, one array a name; NaN: none
        Map<String, String> metadata  // of every object, beside the state in which it is put in
        boolean editable       // annotations, which can be dragged and drawn again, in place of detections
    }

    /** Make detections, or annotations that can be edited, from columns: about ten microseconds each. */
    static List<PathObject> build(Columns columns) {
        PathClass[] classes = new PathClass[columns.pathClasses.length]
        for (int i = 0; i < classes.length; i++)
            classes[i] = PathClass.fromString(columns.pathClasses[i], columns.colours[i])
        List<PathObject> objects = new ArrayList<>(columns.kind.length)
        int ellipse = 0, polygon = 0
        for (int i = 0; i < columns.kind.length; i++) {
            ROI roi
            if (columns.kind[i] == 2)
                roi = polygonAt(columns, polygon++)
            else if (columns.kind[i] == 1)
                roi = ellipseAt(columns, ellipse++)
            else
                roi = ROIs.createPointsROI(columns.points[2 * i], columns.points[2 * i + 1],
                    ImagePlane.getDefaultPlane())
            PathClass pathClass = classes[columns.pathClass[i]]
            PathObject object = columns.editable ?
                PathObjects.createAnnotationObject(roi, pathClass, measurementsAt(columns, i)) :
                PathObjects.createDetectionObject(roi, pathClass, measurementsAt(columns, i))
            object.setID(new UUID(columns.ids[2 * i], columns.ids[2 * i + 1]))
            Nuclei.mark(object, columns.metadata)
            Nuclei.mark(object, [(Nuclei.PUSHED): pushedAt(columns, i)])
            objects.add(object)
        }
        return objects
    }

    private static ROI polygonAt(Columns columns, int row) {
        int vertices = columns.vertices
        double[] x = new double[vertices]
        double[] y = new double[vertices]
        for (int k = 0; k < vertices; k++) {
            x[k] = columns.rings[2 * (row * vertices + k)]
            y[k] = columns.rings[2 * (row * vertices + k) + 1]
        }
        return ROIs.createPolygonROI(x, y, ImagePlane.getDefaultPlane())
    }

    private static ROI ellipseAt(Columns columns, int row) {
        double left = columns.bounds[4 * row]
        double top = columns.bounds[4 * row + 1]
        return ROIs.createEllipseROI(left, top, columns.bounds[4 * row + 2] - left,
            columns.bounds[4 * row + 3] - top, ImagePlane.getDefaultPlane())
    }

    private static MeasurementList measurementsAt(Columns columns, int i) {
        MeasurementList list = MeasurementListFactory.createMeasurementList(
            columns.names.length, MeasurementList.MeasurementListType.FLOAT)
        for (int k = 0; k < columns.names.length; k++) {
            if (!Double.isNaN(columns.values[k][i]))
                list.put(columns.names[k], columns.values[k][i])
        }
        list.close()
        return list
    }

    private static String pushedAt(Columns columns, int i) {
        StringBuilder text = new StringBuilder(40)
        Positions.appendHundredths(text, columns.centroid[2 * i]).append((char) ',')
        Positions.appendHundredths(text, columns.centroid[2 * i + 1]).append((char) ',')
        Positions.appendHundredths(text, columns.area[i]).append((char) ',')
        return text.append(columns.compartments[columns.compartment[i]]).toString()
    }

    /**
     * Write objects as GeoJSON, one a line, in the memory of one.
     *
     * QuPath's own export leaves out the metadata of detections before 0.6. Nuclei that somebody
     * deleted are left out; one that was added is an annotation, whatever it was drawn as.
     *
     * @param states  objects, and what is to stand as "state" in their metadata; null: nothing
     */
    static void writeGeoJson(Map<PathObject, String> states, File file) {
        file.withWriter("UTF-8") { Writer writer ->
            writer.write('{"type":"FeatureCollection","features":[')
            String separator = "\n"
            for (Map.Entry<PathObject, String> entry : states.entrySet()) {
                if (entry.getValue() == Nuclei.DELETED)
                    continue
                writer.write(separator)
                writer.write(feature(entry.getKey(), entry.getValue()))
                separator = ",\n"
            }
            writer.write("\n]}\n")
        }
    }

    private static String feature(PathObject object, String state) {
        Map<String, Object> properties = [
            objectType: (Object) (object.isAnnotation() || state == Nuclei.ADDED ? "annotation" :
                "detection"),
            isLocked: object.isLocked()]
        if (object.getName() != null)
            properties.put("name", object.getName())
        PathClass pathClass = object.getPathClass()
        if (pathClass != null) {
            int rgb = pathClass.getColor()
            properties.put("classification", [name: (Object) pathClass.toString(),
                color: [(rgb >> 16) & 255, (rgb >> 8) & 255, rgb & 255]])
        }
        MeasurementList list = object.getMeasurementList()
        Map<String, Object> measurements = new LinkedHashMap<>()
        for (String name : list.getMeasurementNames()) {
            double value = list.get(name)
            if (Double.isFinite(value))  // JSON knows no other
                measurements.put(name, value)
        }
        properties.put("measurements", measurements)
        Map<String, String> metadata = new LinkedHashMap<>()
        for (String key : [Nuclei.SOURCE, "_model", Nuclei.RUN, Nuclei.PUSHED]) {
            String value = Nuclei.markOf(object, key)
            if (value != null)
                metadata.put(key, value)
        }
        if (state != null)
            metadata.put("state", state)
        properties.put("metadata", metadata)
        // Joined as texts: QuPath's writer of shapes writes to nothing else.
        Gson gson = GsonTools.getInstance()
        return '{"type":"Feature","id":"' + object.getID() + '","geometry":' +
            gson.toJson(shapeOf(object), ROI) + ',"properties":' + gson.toJson(properties) + '}'
    }

    /** Return the shape of an object; of a nucleus of ours the first point, others are added ones. */
    private static ROI shapeOf(PathObject object) {
        ROI roi = object.getROI()
        if (!roi.isPoint() || !Nuclei.isEditableNucleus(object))
            return roi
        Point2 first = roi.getAllPoints().get(0)
        return ROIs.createPointsROI(first.getX(), first.getY(), roi.getImagePlane())
    }

    /** Write one line a nucleus: id, where it is, what became of it, its class then and now. */
    static void writeTable(Map<PathObject, String> states, File file) {
        file.withWriter("UTF-8") { Writer writer ->
            writer.write("id,x,y,state,pushed_class,class\n")
            for (Map.Entry<PathObject, String> entry : states.entrySet()) {
                PathObject object = entry.getKey()
                StringBuilder line = new StringBuilder(120)
                line.append(object.getID()).append((char) ',')
                double[] at = Nuclei.centroidOf(object)
                Positions.appendHundredths(line, at[0]).append((char) ',')
                Positions.appendHundredths(line, at[1]).append((char) ',')
                line.append(entry.getValue()).append((char) ',')
                String pushed = Nuclei.markOf(object, Nuclei.PUSHED)
                appendQuoted(line, pushed == null ? "" : pushed.split(",", 4)[3]).append((char) ',')
                PathClass pathClass = object.getPathClass()
                appendQuoted(line, pathClass == null ? "" : pathClass.toString())
                writer.write(line.append((char) '\n').toString())
            }
        }
    }

    private static StringBuilder appendQuoted(StringBuilder line, String text) {
        return line.append((char) '"').append(text.replace('"', '""')).append((char) '"')
    }
}
