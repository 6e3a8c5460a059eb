/*
 * Nuclei of wsi-suite inside QuPath 0.4 - 0.7: how they are replaced and told apart.
 *
 * A library, not a script: wsi-suite's own scripts and `wsi-suite push` load it, with
 * Positions.gvy and Removals.gvy. Nothing here opens a window or needs one.
 *
 * An object is ours when its metadata say so (_source begins with "wsi-suite"). It carries the state
 * in which it was put in (_pushed: x, y, area, compartment), so that what somebody corrected since
 * then is known and never replaced. Where our nuclei were put in stands in a property of the image,
 * the record, so that a nucleus that somebody deleted does not come back. It is saved in the same
 * file as the objects.
 */

import groovy.transform.CompileStatic
import java.lang.reflect.Method
import java.util.function.BiPredicate
import java.util.function.Predicate
import org.locationtech.jts.algorithm.locate.IndexedPointInAreaLocator
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.Location
import qupath.lib.geom.Point2
import qupath.lib.images.ImageData
import qupath.lib.images.servers.PixelCalibration
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.PolygonROI
import qupath.lib.roi.ROIs
import qupath.lib.roi.interfaces.ROI

@CompileStatic
class Nuclei {

    // Keys of metadata. QuPath shows no column for a key that starts with "_".
    public static final String SOURCE = "_source"
    public static final String RUN = "_run"
    public static final String PUSHED = "_pushed"

    /** The property of the image that holds the record. */
    public static final String RECORD = "wsi-suite record"

    /** The property of the image that holds um per pixel as known to who put nuclei in. */
    public static final String SCALE = "wsi-suite um per pixel"

    public static final String UNTOUCHED = "untouched"
    public static final String CORRECTED = "corrected"
    public static final String DELETED = "deleted"
    public static final String ADDED = "added"

    /** No nucleus of ours is put in this near to one that somebody corrected, deleted or added. */
    public static final double REACH_UM = 3.5d

    /** An annotation up to this size marks one nucleus. */
    public static final double LARGEST_UM2 = 700d

    /** Classes of the fields that `wsi-suite dataset sample` chose. */
    public static final String FIELD_TO_DO = "Field: to do"
    public static final String FIELD_DONE = "Field: done"

    private static final List<String> INTENSITIES = ["Negative", "Positive", "1+", "2+", "3+"]

    // ---- Metadata of objects -------------------------------------------------------------------

    // The one way to metadata that QuPath 0.4 - 0.7 share; the public one came later, and reading
    // through that leaves an empty map with every object.
    private static final Method PUT = protectedMethod("storeMetadataValue", String, String)
    private static final Method GET = protectedMethod("retrieveMetadataValue", String)

    private static Method protectedMethod(String name, Class... types) {
        Method method = PathObject.getDeclaredMethod(name, types)
        method.setAccessible(true)
        return method
    }

    /** Add metadata to an object. */
    static void mark(PathObject object, Map<String, String> metadata) {
        for (Map.Entry<String, String> entry : metadata.entrySet())
            PUT.invoke(object, entry.getKey(), entry.getValue())
    }

    /** Return a value of an object's metadata, or null. */
    static String markOf(PathObject object, String key) {
        return (String) GET.invoke(object, key)
    }

    static boolean isOurs(PathObject object) {
        String source = markOf(object, SOURCE)
        return source != null && source.startsWith("wsi-suite")
    }

    /** Return whether an annotation is a nucleus of ours that can be edited, and no scored region. */
    static boolean isEditableNucleus(PathObject object) {
        return object.isAnnotation() && isOurs(object) && markOf(object, PUSHED) != null
    }

    /** Return the nuclei of ours, detections and annotations. */
    private static List<PathObject> nucleiIn(PathObjectHierarchy hierarchy) {
        List<PathObject> found = []
        for (PathObject object : hierarchy.getDetectionObjects()) {
            if (isOurs(object))
                found.add(object)
        }
        for (PathObject object : hierarchy.getAnnotationObjects()) {
            if (isEditableNucleus(object))
                found.add(object)
        }
        return found
    }

    /** Return the name of a class without its intensity: "Stroma: 1+" is of the compartment Stroma. */
    static String compartment(String className) {
        if (className == null)
            return ""
        int colon = className.lastIndexOf(": ")
        return colon >= 0 && className.substring(colon + 2) in INTENSITIES ?
            className.substring(0, colon) : className
    }

    /** Return x and y of the middle of an object, without the time that QuPath takes for it. */
    static double[] centroidOf(PathObject object) {
        Shape shape = Shape.of(object)
        return [shape.x, shape.y] as double[]
    }

    private static String compartmentOf(PathObject object) {
        PathClass pathClass = object.getPathClass()
        return compartment(pathClass == null ? null : pathClass.toString())
    }

    /** Return whether somebody has corrected an object of ours: moved, redrawn, reclassified, named or locked it. */
    static boolean isCorrected(PathObject object) {
        return differs(object, Shape.before(object), Shape.of(object))
    }

    private static boolean differs(PathObject object, Shape before, Shape now) {
        return before == null || !before.isLike(now) || object.getName() != null || object.isLocked()
    }

    /** Where a nucleus is, how large, and of which compartment; coordinates are pixels. */
    @CompileStatic
    private static class Shape {
        double x
        double y
        double area
        String compartment

        /** Return how an object is now. */
        static Shape of(PathObject object) {
            ROI roi = object.getROI()
            Shape shape = new Shape(compartment: compartmentOf(object))
            if (roi instanceof PolygonROI) {
                shape.measure(((PolygonROI) roi).getAllPoints())
            } else if (roi.isPoint()) {  // the first alone: others may have been added to it
                Point2 first = roi.getAllPoints().get(0)
                shape.x = first.getX()
                shape.y = first.getY()
            } else {
                shape.x = roi.getCentroidX()
                shape.y = roi.getCentroidY()
                shape.area = roi.isArea() ? roi.getArea() : 0d
            }
            return shape
        }

        /** Return how an object of ours was when it was put in, or null where it does not say. */
        static Shape before(PathObject object) {
            String text = markOf(object, PUSHED)
            String[] parts = text == null ? new String[0] : text.split(",", 4)
            if (parts.length < 4)
                return null
            try {
                return new Shape(x: Double.parseDouble(parts[0]), y: Double.parseDouble(parts[1]),
                    area: Double.parseDouble(parts[2]), compartment: parts[3])
            } catch (NumberFormatException ignored) {
                return null
            }
        }

        String toString() {
            StringBuilder text = new StringBuilder(40)
            for (double value : [x, y, area] as double[])
                Positions.appendHundredths(text, value).append((char) ',')
            return text.append(compartment).toString()
        }

        long key() {
            return Positions.keyOf(x, y)
        }

        boolean isLike(Shape other) {
            return Math.hypot(x - other.x, y - other.y) <= 0.1d &&
                Math.abs(area - other.area) <= 1d + 0.001d * area &&
                compartment == other.compartment
        }

        /** Measure a polygon: QuPath's own way takes fifty microseconds, too long for a million. */
        private void measure(List<Point2> points) {
            Point2 first = points.get(0), last = points.get(points.size() - 1)
            double x0 = last.getX() - first.getX(), y0 = last.getY() - first.getY()
            double twice = 0d, sumX = 0d, sumY = 0d
            for (Point2 point : points) {
                double x1 = point.getX() - first.getX(), y1 = point.getY() - first.getY()
                double cross = x0 * y1 - x1 * y0
                twice += cross
                sumX += (x0 + x1) * cross
                sumY += (y0 + y1) * cross
                x0 = x1
                y0 = y1
            }
            area = Math.abs(twice) / 2d
            // In single precision, as QuPath has it: both count a nucleus for the same regions.
            x = (float) (first.getX() + (twice == 0d ? 0d : sumX / (3d * twice)))
            y = (float) (first.getY() + (twice == 0d ? 0d : sumY / (3d * twice)))
        }
    }

    // ---- Replacing them ------------------------------------------------------------------------

    /** As below, with the pixel size that QuPath knows. */
    static Map<String, Integer> place(ImageData imageData, Collection<? extends PathObject> nuclei,
            Geometry region, boolean discardCorrections) {
        return place(imageData, nuclei, region, discardCorrections, pixelSize(imageData))
    }

    /**
     * Put nuclei in, in place of those of ours that nobody touched.
     *
     * What somebody corrected, deleted or added is kept, and new nuclei as near as REACH_UM to it,
     * or inside its outline, are left out, but for those that are there untouched and come again to
     * the same place: who corrected saw them. Objects of others are never touched. Detections that
     * were not marked before are marked with their state here.
     *
     * @param nuclei  detections that are not in the image yet
     * @param region  only here, by centroid; null: the whole image
     * @param discardCorrections  keep nothing of ours, whatever somebody did to it
     * @param mpp     um per pixel of the full resolution
     * @return placed, removed; kept: changed, deleted, added; suppressed; cleared: nuclei that were gone
     *         with a whole region, which is no correction; replaced: of these, where others' detections are now
     */
    static Map<String, Integer> place(ImageData imageData, Collection<? extends PathObject> nuclei,
            Geometry region, boolean discardCorrections, double mpp) {
        PathObjectHierarchy hierarchy = imageData.getHierarchy()
        BiPredicate<Double, Double> inside = insideOf(region)
        State state = new State(hierarchy, recordOf(imageData), inside, mpp)
        List<PathObject> outdated = new ArrayList<>(state.untouched)
        if (discardCorrections) {
            outdated.addAll(state.changed)
            state.changed.clear()
            state.deleted.clear()
        }
        List<PathObject> within = new ArrayList<>(nuclei.size())
        List<Shape> shapes = new ArrayList<>(nuclei.size())
        Set<String> compartments = new HashSet<>(state.compartments)
        for (PathObject nucleus : nuclei) {
            if (markOf(nucleus, PUSHED) == null)
                mark(nucleus, [(PUSHED): Shape.of(nucleus).toString()])
            Shape shape = Shape.before(nucleus), exact = Shape.of(nucleus)
            compartments.add(shape.compartment)
            if (inside.test(exact.x, exact.y)) {
                within.add(nucleus)
                shapes.add(shape)
            }
        }
        List<PathObject> added = discardCorrections ? (List<PathObject>) [] :
            addedTo(hierarchy, mpp, inside) { PathObject it -> compartmentOf(it) in compartments }
        boolean[] suppressed = suppressed(shapes, state, added, REACH_UM / mpp)
        List<PathObject> placed = new ArrayList<>(within.size())
        List<Shape> made = new ArrayList<>(within.size())
        // One that comes again to its very place was seen beside what was corrected, and left there.
        long[] seen = keysOf(state.untouched)
        for (int i = 0; i < suppressed.length; i++) {
            if (!suppressed[i] || Arrays.binarySearch(seen, shapes.get(i).key()) >= 0) {
                placed.add(within.get(i))
                made.add(shapes.get(i))
            }
        }
        hierarchy.removeObjects(outdated, true)
        hierarchy.addObjects(placed)
        imageData.setProperty(RECORD, state.recordAfter(placed, made).write())
        imageData.setProperty(SCALE, Double.toString(mpp))
        return [placed: placed.size(), removed: outdated.size(), changed: state.changed.size(),
            deleted: state.countDeleted(), added: added.size(),
            suppressed: within.size() - placed.size(), cleared: state.cleared, replaced: state.replaced]
    }

    /** Return where nuclei of ours were put in, sorted. */
    private static long[] keysOf(List<PathObject> nuclei) {
        Positions.LongList keys = new Positions.LongList()
        for (PathObject nucleus : nuclei) {
            Shape before = Shape.before(nucleus)
            if (before != null)
                keys.add(before.key())
        }
        return keys.sorted()
    }

    private static Positions.Record recordOf(ImageData imageData) {
        return Positions.Record.read((String) imageData.getProperty(RECORD))
    }

    /** Return um per pixel of the full resolution. */
    static double pixelSize(ImageData imageData) {
        PixelCalibration calibration = imageData.getServer().getPixelCalibration()
        if (!calibration.hasPixelSizeMicrons())
            throw new IllegalStateException("The pixel size of this image is not known: set it in " +
                "QuPath's Image tab.")
        return calibration.getAveragedPixelSizeMicrons()
    }

    private static BiPredicate<Double, Double> insideOf(Geometry region) {
        if (region == null)
            return { Double x, Double y -> true } as BiPredicate<Double, Double>
        IndexedPointInAreaLocator locator = new IndexedPointInAreaLocator(region)
        return { Double x, Double y ->
            locator.locate(new Coordinate(x, y)) != Location.EXTERIOR
        } as BiPredicate<Double, Double>
    }

    /** What became of our objects inside a region since they were put in. */
    @CompileStatic
    private static class State {
        final List<PathObject> untouched = []
        final List<PathObject> changed = []
        final Set<String> compartments = new HashSet<>()
        Map<String, long[]> deleted  // by group
        int cleared   // gone, but not deleted one by one
        int replaced  // of these, where a detection of somebody else's is now
        private final Positions.Record record
        private final BiPredicate<Double, Double> inside
        private final double mpp

        State(PathObjectHierarchy hierarchy, Positions.Record record, BiPredicate<Double, Double> inside,
                double mpp) {
            this.record = record
            this.inside = inside
            this.mpp = mpp
            Map<String, Positions.LongList> present = new HashMap<>()
            for (PathObject object : nucleiIn(hierarchy)) {
                Shape before = Shape.before(object), now = Shape.of(object)
                if (before != null) {
                    compartments.add(before.compartment)
                    listOf(present, runOf(object)).add(before.key())
                }
                if (inside.test(now.x, now.y))
                    (differs(object, before, now) ? changed : untouched).add(object)
            }
            deleted = deletedFrom(present, hierarchy)
        }

        int countDeleted() {
            int count = 0
            for (long[] keys : deleted.values())
                count += keys.length
            return count
        }

        /** Return where nuclei were deleted, in this push's time or before. */
        private Map<String, long[]> deletedFrom(Map<String, Positions.LongList> present,
                PathObjectHierarchy hierarchy) {
            Positions.LongList pushed = new Positions.LongList()
            Map<String, int[]> groups = new LinkedHashMap<>(), runs = new LinkedHashMap<>()  // first, end
            BitSet gone = new BitSet()
            for (Map.Entry<String, long[]> entry : record.pushed.entrySet()) {
                String run = Positions.Record.runOf(entry.getKey())
                long[] there = listOf(present, run).sorted()
                int first = pushed.size
                for (long key : entry.getValue()) {
                    if (!isInside(key))
                        continue
                    gone.set(pushed.size, Arrays.binarySearch(there, key) < 0)
                    pushed.add(key)
                }
                groups.put(entry.getKey(), [first, pushed.size] as int[])
                // Groups of one run follow one another.
                runs.put(run, [runs.containsKey(run) ? runs.get(run)[0] : first, pushed.size] as int[])
            }
            BitSet away = new BitSet()
            for (int[] range : runs.values()) {
                int all = range[1] - range[0]
                if (all >= Removals.CLEARED && gone.get(range[0], range[1]).cardinality() == all)
                    away.set(range[0], range[1])
            }
            if (!gone.isEmpty())
                away = withCleared(away, pushed.all(), gone, hierarchy)
            gone.andNot(away)
            Map<String, Positions.LongList> lost = new TreeMap<>()
            addFrom(record.deleted, lost, true)
            long[] keys = pushed.all()
            for (Map.Entry<String, int[]> entry : groups.entrySet()) {
                int end = entry.getValue()[1]
                for (int i = gone.nextSetBit(entry.getValue()[0]); i >= 0 && i < end; i = gone.nextSetBit(i + 1))
                    listOf(lost, entry.getKey()).add(keys[i])
            }
            return sorted(lost)
        }

        private static void add(Map<String, Positions.LongList> pushed, PathObject object, Shape before) {
            if (before != null)
                listOf(pushed, Positions.Record.groupOf(runOf(object), before.compartment)).add(before.key())
        }

        /** Add those keys of a record that lie inside of the region, or outside of it. */
        private void addFrom(Map<String, long[]> part, Map<String, Positions.LongList> lists, boolean within) {
            for (Map.Entry<String, long[]> entry : part.entrySet()) {
                for (long key : entry.getValue()) {
                    if (isInside(key) == within)
                        listOf(lists, entry.getKey()).add(key)
                }
            }
        }

        private static Map<String, long[]> sorted(Map<String, Positions.LongList> lists) {
            Map<String, long[]> arrays = new TreeMap<>()
            for (Map.Entry<String, Positions.LongList> entry : lists.entrySet())
                arrays.put(entry.getKey(), entry.getValue().sorted())
            return arrays
        }

        /** Return `away` and what was cleared with a region, and count them. */
        private BitSet withCleared(BitSet away, long[] pushed, BitSet gone, PathObjectHierarchy hierarchy) {
            Removals removals = new Removals(pushed, gone, mpp)
            BitSet others = removals.replacedBy(hierarchy.getDetectionObjects()
                .findAll { PathObject it -> !isOurs(it) }, REACH_UM, LARGEST_UM2)
            boolean everywhere = pushed.length >= Removals.CLEARED && gone.cardinality() == pushed.length
            BitSet found = away | (everywhere ? gone :
                removals.clearedIn(hierarchy.getAllObjects(false).findAll { PathObject it ->
                    !it.isDetection() && !isEditableNucleus(it) && it.getROI()?.isArea() }, others))
            cleared = found.cardinality()
            replaced = (others & found).cardinality()
            return found
        }

        /** Return the record once nuclei were put in, as they were made. */
        Positions.Record recordAfter(List<PathObject> placed, List<Shape> made) {
            Map<String, Positions.LongList> pushed = new TreeMap<>(), gone = new TreeMap<>()
            addFrom(record.pushed, pushed, false)
            for (PathObject object : changed)
                add(pushed, object, Shape.before(object))
            for (int i = 0; i < placed.size(); i++)
                add(pushed, placed.get(i), made.get(i))
            addFrom(record.deleted, gone, false)
            for (Map.Entry<String, long[]> entry : deleted.entrySet())
                listOf(gone, entry.getKey()).addAll(entry.getValue())
            return new Positions.Record(pushed: sorted(pushed), deleted: sorted(gone))
        }

        private boolean isInside(long key) {
            return inside.test(Positions.xOf(key), Positions.yOf(key))
        }

        private static String runOf(PathObject object) {
            return markOf(object, RUN) ?: ""
        }

        private static Positions.LongList listOf(Map<String, Positions.LongList> lists, String key) {
            Positions.LongList list = lists.get(key)
            if (list == null)
                lists.put(key, list = new Positions.LongList())
            return list
        }
    }

    /**
     * Return what others added: objects that stand for one nucleus each.
     *
     * These are annotations no larger than a nucleus that `counts` accepts. Each point of a point
     * annotation counts by itself and is returned as a point that is not in the image.
     */
    private static List<PathObject> addedTo(PathObjectHierarchy hierarchy, double mpp,
            BiPredicate<Double, Double> inside, Predicate<PathObject> counts) {
        List<PathObject> added = []
        for (PathObject annotation : hierarchy.getAnnotationObjects()) {
            ROI roi = annotation.getROI()
            if (isEditableNucleus(annotation)) {  // QuPath's tool adds points to the one that is selected
                if (roi.isPoint() && roi.getAllPoints().size() > 1)
                    added.addAll(pointsOf(annotation, inside).drop(1))
                continue
            }
            if (isOurs(annotation) || !counts.test(annotation))
                continue
            if (roi.isPoint()) {
                added.addAll(pointsOf(annotation, inside))
            } else if (roi.isArea() && roi.getArea() * mpp * mpp <= LARGEST_UM2 &&
                    inside.test(roi.getCentroidX(), roi.getCentroidY())) {
                added.add(annotation)
            }
        }
        return added
    }

    /** Return the points of an annotation, each as an object that is not in the image. */
    private static List<PathObject> pointsOf(PathObject annotation, BiPredicate<Double, Double> inside) {
        List<PathObject> points = []
        int number = 0
        for (Point2 point : annotation.getROI().getAllPoints()) {
            number++
            if (inside.test(point.getX(), point.getY()))
                points.add(named(PathObjects.createDetectionObject(ROIs.createPointsROI(
                    point.getX(), point.getY(), annotation.getROI().getImagePlane()),
                    annotation.getPathClass()), "point ${number} of ${annotation.getID()}"))
        }
        return points
    }

    private static boolean[] suppressed(List<Shape> nuclei, State state, List<PathObject> added,
            double reach) {
        double[] x = new double[nuclei.size()]
        double[] y = new double[nuclei.size()]
        for (int i = 0; i < x.length; i++) {
            x[i] = nuclei.get(i).x
            y[i] = nuclei.get(i).y
        }
        Positions.Grid grid = new Positions.Grid(x, y, Math.max(reach, 1d))
        boolean[] hit = new boolean[x.length]
        for (long[] keys : state.deleted.values()) {
            for (long key : keys)
                grid.markNear(hit, Positions.xOf(key), Positions.yOf(key), reach)
        }
        for (List<PathObject> kept : [state.changed, added]) {
            for (PathObject object : kept) {
                ROI roi = object.getROI()
                grid.markNear(hit, roi.getCentroidX(), roi.getCentroidY(), reach)
                if (roi.isArea()) {
                    double left = roi.getBoundsX(), top = roi.getBoundsY()
                    grid.around(left, top, left + roi.getBoundsWidth(), top + roi.getBoundsHeight()) {
                        int i -> hit[i] = hit[i] || roi.contains(x[i], y[i])
                    }
                }
                // One that was moved farther must not come back where it was.
                Shape before = Shape.before(object)
                if (before != null)
                    grid.markNear(hit, before.x, before.y, reach)
            }
        }
        return hit
    }

    // ---- Scored regions ------------------------------------------------------------------------

    /**
     * Put annotations of scored regions in, in place of those of an earlier time.
     *
     * None is laid over an annotation of somebody else's that has the same area: QuPath shows its
     * scores there.
     *
     * @return how many were put in
     */
    static int placeRegions(ImageData imageData, Collection<? extends PathObject> regions) {
        PathObjectHierarchy hierarchy = imageData.getHierarchy()
        List<PathObject> ours = [], others = []
        for (PathObject annotation : hierarchy.getAnnotationObjects()) {
            if (!isEditableNucleus(annotation))
                (isOurs(annotation) ? ours : others).add(annotation)
        }
        List<PathObject> placed = []
        for (PathObject region : regions) {
            if (!others.any { PathObject other -> isSameArea(region.getROI(), other.getROI()) })
                placed.add(region)
        }
        hierarchy.removeObjects(ours, true)
        hierarchy.addObjects(placed)
        return placed.size()
    }

    private static boolean isSameArea(ROI one, ROI other) {
        if (!other.isArea() || Math.abs(one.getArea() - other.getArea()) > 0.005d * one.getArea())
            return false
        double shared = one.getGeometry().intersection(other.getGeometry()).getArea()
        return one.getArea() + other.getArea() - 2d * shared < 0.005d * one.getArea()
    }

    // ---- What became of them -------------------------------------------------------------------

    /**
     * Return every nucleus of ours and what became of it: untouched, corrected, deleted or added.
     *
     * Deleted nuclei, and points of point annotations, are returned as points that are not in the
     * image; of the deleted ones PUSHED tells the class.
     */
    static Map<PathObject, String> states(ImageData imageData) {
        PathObjectHierarchy hierarchy = imageData.getHierarchy()
        BiPredicate<Double, Double> inside = insideOf(null)
        // Where the pixel size is not known no annotation is small: its points alone count.
        PixelCalibration calibration = imageData.getServer().getPixelCalibration()
        String scale = (String) imageData.getProperty(SCALE)
        double mpp = calibration.hasPixelSizeMicrons() ? calibration.getAveragedPixelSizeMicrons() :
            scale != null ? Double.parseDouble(scale) : Double.NaN
        State state = new State(hierarchy, recordOf(imageData), inside, mpp)
        Map<PathObject, String> states = new LinkedHashMap<>()
        for (PathObject object : inOrder(state.untouched))
            states.put(object, UNTOUCHED)
        for (PathObject object : inOrder(state.changed))
            states.put(object, CORRECTED)
        for (Map.Entry<String, long[]> entry : state.deleted.entrySet()) {
            String compartment = Positions.Record.compartmentOf(entry.getKey())
            for (long key : entry.getValue()) {
                double x = Positions.xOf(key), y = Positions.yOf(key)
                PathObject point = named(PathObjects.createDetectionObject(
                    ROIs.createPointsROI(x, y, ImagePlane.getDefaultPlane())), "deleted at ${x}, ${y}")
                mark(point, [(PUSHED): new Shape(x: x, y: y, area: 0d, compartment: compartment).toString()])
                states.put(point, DELETED)
            }
        }
        boolean fields = hierarchy.getAnnotationObjects().any { PathObject it -> isField(it) }
        for (PathObject object : inOrder(addedTo(hierarchy, mpp, inside) { PathObject it ->
                fields ? isNoArea(it) : isLike(it, state.compartments) }))
            states.put(object, ADDED)
        return states
    }

    /** Return whether an annotation may be a nucleus that somebody added to those of a push. */
    private static boolean isLike(PathObject annotation, Set<String> compartments) {
        // Points of other classes, or of none, are how QuPath counts; an outline as small as a nucleus is one.
        return compartmentOf(annotation) in compartments ||
            (!compartments.isEmpty() && annotation.getROI().isArea() && isNoArea(annotation))
    }

    /** Return whether an annotation may be a nucleus by its class: it is none of areas. */
    private static boolean isNoArea(PathObject annotation) {
        String own = compartmentOf(annotation)
        return !isField(annotation) && !own.endsWith("*") && own != "Region"
    }

    /** Return whether an annotation is a field that `wsi-suite dataset sample` chose, done or not. */
    static boolean isField(PathObject annotation) {
        PathClass pathClass = annotation.getPathClass()
        return pathClass != null && pathClass.toString() in [FIELD_TO_DO, FIELD_DONE]
    }

    /** Return annotations that are no nuclei of ours, and ADDED for those that are nuclei; else null. */
    static Map<PathObject, String> annotationsOf(ImageData imageData, Map<PathObject, String> states) {
        Map<PathObject, String> found = new LinkedHashMap<>()
        for (PathObject annotation : inOrder(imageData.getHierarchy().getAnnotationObjects())) {
            if (!isEditableNucleus(annotation))
                found.put(annotation, states.get(annotation))
        }
        return found
    }

    /** Return objects from top to bottom: QuPath keeps them in no order of its own. */
    static List<PathObject> inOrder(Collection<? extends PathObject> objects) {
        List<Placed> placed = new ArrayList<>(objects.size())
        for (PathObject object : objects) {
            Shape shape = Shape.of(object)
            placed.add(new Placed(key: shape.key(), id: object.getID(), object: object))
        }
        Collections.sort(placed)
        List<PathObject> ordered = new ArrayList<>(placed.size())
        for (Placed one : placed)
            ordered.add(one.object)
        return ordered
    }

    @CompileStatic
    private static class Placed implements Comparable<Placed> {
        long key
        UUID id
        PathObject object

        int compareTo(Placed other) {
            int order = Long.compare(key, other.key)
            return order != 0 ? order : id.compareTo(other.id)
        }
    }

    /** Give an object that is made only to be returned the same id at every call. */
    private static PathObject named(PathObject object, CharSequence name) {
        object.setID(UUID.nameUUIDFromBytes("wsi-suite: ${name}".toString().getBytes("UTF-8")))
        return object
    }
}
