/*
 * Nuclei of wsi-suite inside QuPath 0.4 - 0.7: how they are made, replaced and told apart.
 *
 * A library, not a script: wsi-suite's own scripts and `wsi-suite push` load it. Nothing here opens a
 * window or needs one.
 *
 * An object is ours when its metadata say so (_source begins with "wsi-suite"). It carries the state
 * in which it was put in (_pushed: x, y, area, compartment), so that what somebody corrected since
 * then is known and never replaced. Where our nuclei were put in stands in a property of the image,
 * the record, so that a nucleus that somebody deleted does not come back. It is saved in the same
 * file as the objects.
 */

import groovy.transform.CompileStatic
import java.lang.reflect.Method
import java.nio.ByteBuffer
import java.nio.charset.StandardCharsets
import java.security.MessageDigest
import java.util.function.BiPredicate
import java.util.zip.Deflater
import java.util.zip.DeflaterOutputStream
import java.util.zip.InflaterInputStream
import org.locationtech.jts.algorithm.locate.IndexedPointInAreaLocator
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.Location
import qupath.lib.geom.Point2
import qupath.lib.images.ImageData
import qupath.lib.images.servers.PixelCalibration
import qupath.lib.io.GsonTools
import qupath.lib.measurements.MeasurementList
import qupath.lib.measurements.MeasurementListFactory
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.regions.ImagePlane
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

    public static final String UNTOUCHED = "untouched"
    public static final String CORRECTED = "corrected"
    public static final String DELETED = "deleted"
    public static final String ADDED = "added"

    /** No nucleus of ours is put in this near to one that somebody corrected, deleted or added. */
    public static final double REACH_UM = 3.5d

    /** An annotation up to this size marks one nucleus. */
    public static final double LARGEST_UM2 = 700d

    /** That many nuclei of one run that are all gone were cleared away, not judged one by one. */
    public static final int CLEARED = 10

    private static final int RAYS = 16
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

    /** Return the name of a class without its intensity: "Stroma: 1+" is of the compartment Stroma. */
    static String compartment(String className) {
        if (className == null)
            return ""
        int colon = className.lastIndexOf(": ")
        return colon >= 0 && className.substring(colon + 2) in INTENSITIES ?
            className.substring(0, colon) : className
    }

    private static String compartmentOf(PathObject object) {
        PathClass pathClass = object.getPathClass()
        return compartment(pathClass == null ? null : pathClass.toString())
    }

    /** The state in which an object of ours was put in. */
    @CompileStatic
    private static class Pushed {
        double x
        double y
        double area
        String compartment

        /** Read "x,y,area,compartment"; null where it is not that. */
        static Pushed read(String text) {
            String[] parts = text == null ? new String[0] : text.split(",", 4)
            if (parts.length < 4)
                return null
            try {
                return new Pushed(x: Double.parseDouble(parts[0]), y: Double.parseDouble(parts[1]),
                    area: Double.parseDouble(parts[2]), compartment: parts[3])
            } catch (NumberFormatException ignored) {
                return null
            }
        }

        static String write(PathObject object) {
            ROI roi = object.getROI()
            StringBuilder text = new StringBuilder(40)
            for (double value : [roi.getCentroidX(), roi.getCentroidY(), areaOf(roi)] as double[])
                appendHundredths(text, value).append((char) ',')
            return text.append(compartmentOf(object)).toString()
        }

        boolean isAsIn(PathObject object) {
            ROI roi = object.getROI()
            double moved = Math.hypot(roi.getCentroidX() - x, roi.getCentroidY() - y)
            return moved <= 0.1d && Math.abs(areaOf(roi) - area) <= 1d + 0.001d * area &&
                object.getName() == null && !object.isLocked() &&
                compartmentOf(object) == compartment
        }
    }

    private static double areaOf(ROI roi) {
        return roi.isArea() ? roi.getArea() : 0d
    }

    /** Append a number with two decimals, many times faster than String.format. */
    private static StringBuilder appendHundredths(StringBuilder text, double value) {
        long hundredths = (long) Math.rint(value * 100d)
        if (hundredths < 0) {
            text.append((char) '-')
            hundredths = -hundredths
        }
        long decimals = hundredths % 100L
        text.append(hundredths.intdiv(100L)).append((char) '.')
        return (decimals < 10 ? text.append((char) '0') : text).append(decimals)
    }

    // ---- Making objects ------------------------------------------------------------------------

    /**
     * Make detections from columns: about ten microseconds each.
     *
     * @param x, y           centres in pixels of the full resolution
     * @param radii          16 radii a nucleus, from its centre: the outline
     * @param circle         one radius a nucleus: a circle where it is finite, and more than 0;
     *                       NaN: the outline; 0: a point
     * @param classOf        index into classNames, a nucleus
     * @param colours        of the classes, packed RGB; a class that QuPath knows keeps its own
     * @param names, values  measurements: one array a name
     * @param metadata       of every object; its state is added
     */
    static List<PathObject> build(double[] x, double[] y, float[] radii, float[] circle,
            int[] classOf, String[] classNames, int[] colours, String[] names, float[][] values,
            Map<String, String> metadata) {
        PathClass[] classes = new PathClass[classNames.length]
        for (int i = 0; i < classNames.length; i++)
            classes[i] = PathClass.fromString(classNames[i], colours[i])
        double[][] rays = [new double[RAYS], new double[RAYS]]
        for (int ray = 0; ray < RAYS; ray++) {
            rays[0][ray] = Math.cos(2d * Math.PI * ray / RAYS)
            rays[1][ray] = Math.sin(2d * Math.PI * ray / RAYS)
        }
        MessageDigest sha1 = MessageDigest.getInstance("SHA-1")
        List<PathObject> objects = new ArrayList<>(x.length)
        for (int i = 0; i < x.length; i++) {
            ROI roi = shape(x[i], y[i], radii, i * RAYS, circle[i], rays)
            MeasurementList list = MeasurementListFactory.createMeasurementList(
                names.length, MeasurementList.MeasurementListType.FLOAT)
            for (int k = 0; k < names.length; k++)
                list.put(names[k], values[k][i])
            list.close()
            PathObject object = PathObjects.createDetectionObject(roi, classes[classOf[i]], list)
            object.setID(idAt(x[i], y[i], sha1))
            mark(object, metadata)
            objects.add(object)
        }
        return objects
    }

    private static ROI shape(double x, double y, float[] radii, int first, float circle,
            double[][] rays) {
        ImagePlane plane = ImagePlane.getDefaultPlane()
        if (circle == 0f)
            return ROIs.createPointsROI(hundredths(x), hundredths(y), plane)
        if (circle > 0f)
            return ROIs.createEllipseROI(hundredths(x - circle), hundredths(y - circle),
                hundredths(2d * circle), hundredths(2d * circle), plane)
        double[] xs = new double[RAYS]
        double[] ys = new double[RAYS]
        for (int ray = 0; ray < RAYS; ray++) {
            double radius = Math.max(0.1d, radii[first + ray])  // below it vertices would collapse
            xs[ray] = hundredths(x + radius * rays[0][ray])
            ys[ray] = hundredths(y + radius * rays[1][ray])
        }
        return ROIs.createPolygonROI(xs, ys, plane)
    }

    private static double hundredths(double value) {
        return Math.rint(value * 100d) / 100d
    }

    private static final UUID NAMESPACE = new UUID(0x8BB01F6BD70D529CL, 0xA82D78541A7BB1A9L)

    /** Return the id of a nucleus, the same as in nuclei.geojson: a UUID of version 5 of "x,y". */
    private static UUID idAt(double x, double y, MessageDigest sha1) {
        StringBuilder name = new StringBuilder(24)
        appendHundredths(appendHundredths(name, x).append((char) ','), y)
        ByteBuffer space = ByteBuffer.allocate(16)
        space.putLong(NAMESPACE.getMostSignificantBits())
        space.putLong(NAMESPACE.getLeastSignificantBits())
        sha1.update(space.array())
        ByteBuffer digest = ByteBuffer.wrap(
            sha1.digest(name.toString().getBytes(StandardCharsets.US_ASCII)))
        long most = (digest.getLong() & ~0xF000L) | 0x5000L
        long least = (digest.getLong() & 0x3FFFFFFFFFFFFFFFL) | Long.MIN_VALUE
        return new UUID(most, least)
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
     * or inside its outline, are left out. Objects of others are never touched. Detections that
     * were not marked before are marked with their state here.
     *
     * @param nuclei  detections that are not in the image yet
     * @param region  only here, by centroid; null: the whole image
     * @param discardCorrections  keep nothing of ours, whatever somebody did to it
     * @param mpp     um per pixel of the full resolution
     * @return placed, removed; kept: changed, deleted, added; suppressed
     */
    static Map<String, Integer> place(ImageData imageData, Collection<? extends PathObject> nuclei,
            Geometry region, boolean discardCorrections, double mpp) {
        PathObjectHierarchy hierarchy = imageData.getHierarchy()
        BiPredicate<Double, Double> inside = insideOf(region)
        State state = new State(hierarchy, Record.read(imageData), inside)
        List<PathObject> outdated = new ArrayList<>(state.untouched)
        if (discardCorrections) {
            outdated.addAll(state.changed)
            state.changed.clear()
            state.deleted = new long[0]
        }
        List<PathObject> within = new ArrayList<>(nuclei.size())
        Set<String> compartments = new HashSet<>(state.compartments)
        for (PathObject nucleus : nuclei) {
            if (markOf(nucleus, PUSHED) == null)
                mark(nucleus, [(PUSHED): Pushed.write(nucleus)])
            compartments.add(compartmentOf(nucleus))
            ROI roi = nucleus.getROI()
            if (inside.test(roi.getCentroidX(), roi.getCentroidY()))
                within.add(nucleus)
        }
        List<PathObject> added = discardCorrections ? (List<PathObject>) [] :
            addedTo(hierarchy, compartments, mpp, inside)
        boolean[] suppressed = suppressed(within, state, added, REACH_UM / mpp)
        List<PathObject> placed = new ArrayList<>(within.size())
        for (int i = 0; i < suppressed.length; i++) {
            if (!suppressed[i])
                placed.add(within.get(i))
        }
        hierarchy.removeObjects(outdated, true)
        hierarchy.addObjects(placed)
        imageData.setProperty(RECORD, state.recordAfter(placed).write())
        return [placed: placed.size(), removed: outdated.size(), changed: state.changed.size(),
            deleted: state.deleted.length, added: added.size(),
            suppressed: within.size() - placed.size()]
    }

    /** Return um per pixel of the full resolution, or NaN. */
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
        long[] deleted
        private final Record record
        private final BiPredicate<Double, Double> inside

        State(PathObjectHierarchy hierarchy, Record record, BiPredicate<Double, Double> inside) {
            this.record = record
            this.inside = inside
            Map<String, LongList> present = new HashMap<>()
            for (PathObject object : hierarchy.getDetectionObjects()) {
                if (!isOurs(object))
                    continue
                Pushed pushed = Pushed.read(markOf(object, PUSHED))
                if (pushed != null) {
                    compartments.add(pushed.compartment)
                    listOf(present, runOf(object)).add(keyOf(pushed.x, pushed.y))
                }
                ROI roi = object.getROI()
                if (inside.test(roi.getCentroidX(), roi.getCentroidY()))
                    (pushed != null && pushed.isAsIn(object) ? untouched : changed).add(object)
            }
            deleted = deletedFrom(present)
        }

        /** Return where nuclei were deleted, in this push's time or before. */
        private long[] deletedFrom(Map<String, LongList> present) {
            LongList gone = new LongList()
            for (long key : record.deleted) {
                if (isInside(key))
                    gone.add(key)
            }
            for (Map.Entry<String, long[]> entry : record.pushed.entrySet()) {
                long[] there = listOf(present, entry.getKey()).sorted()
                LongList missing = new LongList()
                int all = 0
                for (long key : entry.getValue()) {
                    if (!isInside(key))
                        continue
                    all++
                    if (Arrays.binarySearch(there, key) < 0)
                        missing.add(key)
                }
                if (all < CLEARED || missing.size < all)
                    gone.addAll(missing)
            }
            return gone.sorted()
        }

        /** Return the record once nuclei were put in. */
        Record recordAfter(List<PathObject> placed) {
            Map<String, LongList> pushed = new TreeMap<>()
            for (Map.Entry<String, long[]> entry : record.pushed.entrySet()) {
                for (long key : entry.getValue()) {
                    if (!isInside(key))
                        listOf(pushed, entry.getKey()).add(key)
                }
            }
            for (List<PathObject> objects : [changed, placed]) {
                for (PathObject object : objects) {
                    Pushed state = Pushed.read(markOf(object, PUSHED))
                    if (state != null)
                        listOf(pushed, runOf(object)).add(keyOf(state.x, state.y))
                }
            }
            LongList gone = new LongList()
            gone.addAll(deleted)
            for (long key : record.deleted) {
                if (!isInside(key))
                    gone.add(key)
            }
            Record after = new Record(deleted: gone.sorted())
            for (Map.Entry<String, LongList> entry : pushed.entrySet())
                after.pushed.put(entry.getKey(), entry.getValue().sorted())
            return after
        }

        private boolean isInside(long key) {
            return inside.test(xOf(key), yOf(key))
        }

        private static String runOf(PathObject object) {
            return markOf(object, RUN) ?: ""
        }

        private static LongList listOf(Map<String, LongList> lists, String run) {
            LongList list = lists.get(run)
            if (list == null)
                lists.put(run, list = new LongList())
            return list
        }
    }

    /**
     * Return what others added: objects that stand for one nucleus each.
     *
     * These are annotations no larger than a nucleus, of a class that our nuclei have. Each point of
     * a point annotation counts by itself and is returned as a point that is not in the image.
     */
    private static List<PathObject> addedTo(PathObjectHierarchy hierarchy, Set<String> compartments,
            double mpp, BiPredicate<Double, Double> inside) {
        List<PathObject> added = []
        for (PathObject annotation : hierarchy.getAnnotationObjects()) {
            if (isOurs(annotation) || !(compartmentOf(annotation) in compartments))
                continue
            ROI roi = annotation.getROI()
            if (roi.isPoint()) {
                for (Point2 point : roi.getAllPoints()) {
                    if (inside.test(point.getX(), point.getY()))
                        added.add(PathObjects.createDetectionObject(ROIs.createPointsROI(
                            point.getX(), point.getY(), roi.getImagePlane()),
                            annotation.getPathClass()))
                }
            } else if (roi.isArea() && roi.getArea() * mpp * mpp <= LARGEST_UM2 &&
                    inside.test(roi.getCentroidX(), roi.getCentroidY())) {
                added.add(annotation)
            }
        }
        return added
    }

    private static boolean[] suppressed(List<PathObject> nuclei, State state,
            List<PathObject> added, double reach) {
        double[] x = new double[nuclei.size()]
        double[] y = new double[nuclei.size()]
        for (int i = 0; i < x.length; i++) {
            ROI roi = nuclei.get(i).getROI()
            x[i] = roi.getCentroidX()
            y[i] = roi.getCentroidY()
        }
        Grid grid = new Grid(x, y, Math.max(reach, 1d))
        boolean[] hit = new boolean[x.length]
        for (long key : state.deleted)
            grid.markNear(hit, xOf(key), yOf(key), reach)
        for (List<PathObject> kept : [state.changed, added]) {
            for (PathObject object : kept) {
                ROI roi = object.getROI()
                grid.markNear(hit, roi.getCentroidX(), roi.getCentroidY(), reach)
                if (roi.isArea())
                    grid.markInside(hit, roi)
                // One that was moved farther must not come back where it was.
                Pushed before = Pushed.read(markOf(object, PUSHED))
                if (before != null)
                    grid.markNear(hit, before.x, before.y, reach)
            }
        }
        return hit
    }

    /** Return which of the points (x, y) lie within reach of any of the points (atX, atY). */
    static boolean[] near(double[] x, double[] y, double[] atX, double[] atY, double reach) {
        Grid grid = new Grid(x, y, Math.max(reach, 1d))
        boolean[] hit = new boolean[x.length]
        for (int i = 0; i < atX.length; i++)
            grid.markNear(hit, atX[i], atY[i], reach)
        return hit
    }

    /** Points in square cells, so that those near a place are found without looking at all. */
    @CompileStatic
    private static class Grid {
        private final double[] x
        private final double[] y
        private final double cell
        private final long[] cells  // of the points, rising
        private final int[] order   // of the points, as in cells

        Grid(double[] x, double[] y, double cell) {
            this.x = x
            this.y = y
            this.cell = cell
            // Few bits of a cell and an index share a long: sorting longs is fast.
            long[] packed = new long[x.length]
            for (int i = 0; i < x.length; i++)
                packed[i] = (hash(cellOf(x[i]), cellOf(y[i])) << 32) | (long) i
            Arrays.sort(packed)
            cells = new long[x.length]
            order = new int[x.length]
            for (int i = 0; i < x.length; i++) {
                cells[i] = packed[i] >>> 32
                order[i] = (int) packed[i]
            }
        }

        void markNear(boolean[] hit, double atX, double atY, double reach) {
            for (int i : around(atX - reach, atY - reach, atX + reach, atY + reach)) {
                if (Math.hypot(x[i] - atX, y[i] - atY) <= reach)
                    hit[i] = true
            }
        }

        void markInside(boolean[] hit, ROI roi) {
            double left = roi.getBoundsX(), top = roi.getBoundsY()
            for (int i : around(left, top, left + roi.getBoundsWidth(), top + roi.getBoundsHeight())) {
                if (roi.contains(x[i], y[i]))
                    hit[i] = true
            }
        }

        /** Return the points of the cells that a rectangle touches, and perhaps some others. */
        private List<Integer> around(double left, double top, double right, double bottom) {
            List<Integer> found = []
            for (long row = cellOf(top); row <= cellOf(bottom); row++) {
                for (long column = cellOf(left); column <= cellOf(right); column++) {
                    long wanted = hash(column, row)
                    int at = Arrays.binarySearch(cells, wanted)
                    while (at > 0 && cells[at - 1] == wanted)
                        at--
                    for (; at >= 0 && at < cells.length && cells[at] == wanted; at++)
                        found.add(order[at])
                }
            }
            return found
        }

        private long cellOf(double value) {
            return (long) Math.floor(value / cell)
        }

        private static long hash(long column, long row) {
            return ((row & 0x7FFFL) << 16) | (column & 0xFFFFL)
        }
    }

    // ---- The record ----------------------------------------------------------------------------

    /** Where nuclei of ours were put in, by the run that found them, and where they were deleted. */
    @CompileStatic
    private static class Record {
        Map<String, long[]> pushed = new TreeMap<>()
        long[] deleted = new long[0]

        /** Read the record of an image; an image without one, or with a damaged one, has none. */
        static Record read(ImageData imageData) {
            Record record = new Record()
            Object text = imageData.getProperty(RECORD)
            if (!(text instanceof String))
                return record
            for (String line : ((String) text).split("\n")) {
                int space = line.lastIndexOf(" ")
                if (line.startsWith("deleted "))
                    record.deleted = unpack(line.substring(space + 1))
                else if (line.startsWith("pushed "))
                    record.pushed.put(line.substring(7, Math.max(7, space)),
                        unpack(line.substring(space + 1)))
            }
            return record
        }

        /** Write lines: "pushed", the run and its positions; "deleted" and positions. */
        String write() {
            StringBuilder text = new StringBuilder()
            for (Map.Entry<String, long[]> entry : pushed.entrySet())
                text.append("pushed ").append(entry.getKey()).append(" ").append(
                    pack(entry.getValue())).append("\n")
            return text.append("deleted ").append(pack(deleted)).toString()
        }
    }

    /** Return rising numbers as text: their differences, deflated, in Base64. */
    static String pack(long[] rising) {
        ByteBuffer bytes = ByteBuffer.allocate(8 * rising.length)
        long before = 0L
        for (long value : rising) {
            bytes.putLong(value - before)
            before = value
        }
        ByteArrayOutputStream packed = new ByteArrayOutputStream()
        Deflater deflater = new Deflater(Deflater.BEST_SPEED)
        new DeflaterOutputStream(packed, deflater).withCloseable { OutputStream it ->
            it.write(bytes.array())
        }
        deflater.end()
        return Base64.getEncoder().encodeToString(packed.toByteArray())
    }

    /** Return the numbers that were packed. */
    static long[] unpack(String text) {
        InputStream stream = new InflaterInputStream(
            new ByteArrayInputStream(Base64.getDecoder().decode(text)))
        ByteBuffer bytes = ByteBuffer.wrap(stream.readAllBytes())
        long[] values = new long[bytes.remaining().intdiv(8)]
        long before = 0L
        for (int i = 0; i < values.length; i++)
            values[i] = before = before + bytes.getLong()
        return values
    }

    /** Return a position, to 0.01 pixels, as one number: numbers rise from row to row. */
    static long keyOf(double x, double y) {
        return (((long) Math.rint(y * 100d)) << 32) | (((long) Math.rint(x * 100d)) & 0xFFFFFFFFL)
    }

    static double xOf(long key) {
        return ((int) key) / 100d
    }

    static double yOf(long key) {
        return ((int) (key >> 32)) / 100d
    }

    /** Numbers, one after another. */
    @CompileStatic
    private static class LongList {
        int size = 0
        private long[] values = new long[16]

        void add(long value) {
            if (size == values.length)
                values = Arrays.copyOf(values, 2 * size)
            values[size++] = value
        }

        void addAll(LongList others) {
            for (int i = 0; i < others.size; i++)
                add(others.values[i])
        }

        void addAll(long[] others) {
            for (long value : others)
                add(value)
        }

        /** Return the numbers, rising, each once. */
        long[] sorted() {
            long[] all = Arrays.copyOf(values, size)
            Arrays.sort(all)
            int unique = 0
            for (int i = 0; i < all.length; i++) {
                if (i == 0 || all[i] != all[i - 1])
                    all[unique++] = all[i]
            }
            return Arrays.copyOf(all, unique)
        }
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
        for (PathObject annotation : hierarchy.getAnnotationObjects())
            (isOurs(annotation) ? ours : others).add(annotation)
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
     * image.
     */
    static Map<PathObject, String> states(ImageData imageData) {
        PathObjectHierarchy hierarchy = imageData.getHierarchy()
        BiPredicate<Double, Double> inside = insideOf(null)
        State state = new State(hierarchy, Record.read(imageData), inside)
        Map<PathObject, String> states = new LinkedHashMap<>()
        for (PathObject object : state.untouched)
            states.put(object, UNTOUCHED)
        for (PathObject object : state.changed)
            states.put(object, CORRECTED)
        for (long key : state.deleted)
            states.put(PathObjects.createDetectionObject(ROIs.createPointsROI(xOf(key), yOf(key),
                ImagePlane.getDefaultPlane())), DELETED)
        if (!state.compartments.isEmpty()) {
            for (PathObject object : addedTo(hierarchy, state.compartments, pixelSize(imageData), inside))
                states.put(object, ADDED)
        }
        return states
    }

    /**
     * Write objects as GeoJSON, one a line, in the memory of one.
     *
     * QuPath's own export leaves out the metadata of detections before 0.6.
     *
     * @param states  objects, and what is to stand as "state" in their metadata; null: nothing
     */
    static void writeGeoJson(Map<PathObject, String> states, File file) {
        file.withWriter("UTF-8") { Writer writer ->
            writer.write('{"type":"FeatureCollection","features":[')
            String separator = "\n"
            for (Map.Entry<PathObject, String> entry : states.entrySet()) {
                writer.write(separator)
                writer.write(feature(entry.getKey(), entry.getValue()))
                separator = ",\n"
            }
            writer.write("\n]}\n")
        }
    }

    private static String feature(PathObject object, String state) {
        Map<String, Object> properties = [
            objectType: (Object) (object.isAnnotation() ? "annotation" : "detection"),
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
            measurements.put(name, Double.isFinite(value) ? (Object) value : String.valueOf(value))
        }
        properties.put("measurements", measurements)
        Map<String, String> metadata = new LinkedHashMap<>()
        for (String key : [SOURCE, "_model", RUN, PUSHED]) {
            String value = markOf(object, key)
            if (value != null)
                metadata.put(key, value)
        }
        if (state != null)
            metadata.put("state", state)
        properties.put("metadata", metadata)
        Map<String, Object> feature = [type: (Object) "Feature", id: object.getID().toString(),
            geometry: GsonTools.getInstance().toJsonTree(object.getROI(), ROI),
            properties: properties]
        return GsonTools.getInstance().toJson(feature)
    }

    /** Write one line a nucleus: id, where it is, what became of it, its class then and now. */
    static void writeTable(Map<PathObject, String> states, File file) {
        file.withWriter("UTF-8") { Writer writer ->
            writer.write("id,x,y,state,pushed_class,class\n")
            for (Map.Entry<PathObject, String> entry : states.entrySet()) {
                PathObject object = entry.getKey()
                StringBuilder line = new StringBuilder(120)
                line.append(object.getID()).append((char) ',')
                appendHundredths(line, object.getROI().getCentroidX()).append((char) ',')
                appendHundredths(line, object.getROI().getCentroidY()).append((char) ',')
                line.append(entry.getValue()).append((char) ',')
                Pushed pushed = Pushed.read(markOf(object, PUSHED))
                appendQuoted(line, pushed == null ? "" : pushed.compartment).append((char) ',')
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
