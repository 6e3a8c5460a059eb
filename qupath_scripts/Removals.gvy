/*
 * Nuclei that are gone: cleared away with a whole region, or deleted one by one. For QuPath 0.4 - 0.7.
 *
 * QuPath removes objects by itself. Its own cell detection, for example, removes the children of the
 * annotation that it runs in, which are our nuclei. Nobody judged these, so they may come back.
 * A library, not a script; Nuclei.gvy needs it.
 */

import groovy.transform.CompileStatic
import org.locationtech.jts.algorithm.locate.IndexedPointInAreaLocator
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Location
import qupath.lib.objects.PathObject
import qupath.lib.roi.interfaces.ROI

// Sets are joined with |= and &=: with BitSet's own or() and and() Groovy calls its methods of these
// names, which change nothing.
@CompileStatic
class Removals {

    /** That many nuclei of a region or a run that are all gone were cleared away, not judged one by one. */
    public static final int CLEARED = 10

    /** The same where nothing shows what removed them: no annotation there, and no other detections. */
    public static final int CLEARED_WITHOUT_TRACE = 100

    /** In annotations of this class nuclei that are gone count as deleted, however many. */
    public static final String KEPT_EMPTY = "Ignore*"

    // Side of the squares in which a region without an annotation is looked for.
    private static final double SQUARE_UM = 30d

    private final double[] x
    private final double[] y
    private final BitSet gone
    private final Positions.Grid grid
    private final double mpp

    /**
     * @param keys  where nuclei of ours were put in, as Positions.keyOf has it
     * @param gone  which of them are not there any more
     * @param mpp   um per pixel; NaN where it is not known: regions count only where an annotation is
     */
    Removals(long[] keys, BitSet gone, double mpp) {
        x = new double[keys.length]
        y = new double[keys.length]
        for (int i = 0; i < keys.length; i++) {
            x[i] = Positions.xOf(keys[i])
            y[i] = Positions.yOf(keys[i])
        }
        this.gone = gone
        this.mpp = mpp
        grid = new Positions.Grid(x, y, Double.isNaN(mpp) ? 50d : SQUARE_UM / mpp)
    }

    /**
     * Return which of those that are gone lie where a small detection of somebody else's is now.
     *
     * @param reachUm  that near to its centroid, or inside it
     * @param largestUm2  a larger detection is a tile or a region: what lies in it was not replaced by it
     */
    BitSet replacedBy(Collection<? extends PathObject> detections, double reachUm, double largestUm2) {
        boolean[] hit = new boolean[x.length]
        if (!Double.isNaN(mpp)) {
            for (PathObject detection : detections) {
                ROI roi = detection.getROI()
                grid.markNear(hit, roi.getCentroidX(), roi.getCentroidY(), reachUm / mpp)
                if (roi.isArea() && roi.getArea() * mpp * mpp <= largestUm2) {
                    double left = roi.getBoundsX(), top = roi.getBoundsY()
                    grid.around(left, top, left + roi.getBoundsWidth(), top + roi.getBoundsHeight()) {
                        int i -> hit[i] = hit[i] || (gone.get(i) && roi.contains(x[i], y[i]))
                    }
                }
            }
        }
        BitSet replaced = new BitSet()
        for (int i = 0; i < hit.length; i++)
            replaced.set(i, hit[i])
        replaced &= gone
        return replaced
    }

    /**
     * Return which of those that are gone were cleared away with a whole region.
     *
     * A region is an annotation or a TMA core in which none is left, or an area without an annotation:
     * neighbouring squares in which none is left. Annotations of the class "Ignore*" keep empty what is in them.
     *
     * @param areas  objects with an area: annotations, TMA cores
     * @param replaced  as replacedBy() returns it
     */
    BitSet clearedIn(Collection<? extends PathObject> areas, BitSet replaced) {
        BitSet cleared = new BitSet(), kept = new BitSet()
        for (PathObject area : areas) {
            BitSet inside = insideOf(area.getROI())
            if (area.getPathClass()?.toString() == KEPT_EMPTY) {
                kept |= inside
                continue
            }
            int all = inside.cardinality()
            inside &= gone
            if (all >= CLEARED && inside.cardinality() == all)
                cleared |= inside
        }
        if (!Double.isNaN(mpp))
            addEmptySquares(cleared, replaced, kept)
        cleared.andNot(kept)
        return cleared
    }

    private BitSet insideOf(ROI roi) {
        BitSet inside = new BitSet()
        IndexedPointInAreaLocator locator = new IndexedPointInAreaLocator(roi.getGeometry())
        double left = roi.getBoundsX(), top = roi.getBoundsY()
        grid.around(left, top, left + roi.getBoundsWidth(), top + roi.getBoundsHeight()) { int i ->
            if (locator.locate(new Coordinate(x[i], y[i])) != Location.EXTERIOR)
                inside.set(i)
        }
        return inside
    }

    private void addEmptySquares(BitSet cleared, BitSet replaced, BitSet kept) {
        double side = SQUARE_UM / mpp
        Map<Long, BitSet> squares = new LinkedHashMap<>()
        Set<Long> occupied = new HashSet<>()
        for (int i = 0; i < x.length; i++) {
            long square = squareOf(x[i], y[i], side)
            if (!gone.get(i))
                occupied.add(square)
            else if (!kept.get(i) && !cleared.get(i))
                squares.computeIfAbsent(square) { new BitSet() }.set(i)
        }
        squares.keySet().removeAll(occupied)
        BitSet found = new BitSet()
        while (!squares.isEmpty()) {
            BitSet area = connected(squares)
            BitSet shown = area & replaced
            int all = area.cardinality()
            if (all >= CLEARED_WITHOUT_TRACE || (all >= CLEARED && 2 * shown.cardinality() >= all))
                found |= area
        }
        // The squares at the border of a region hold nuclei that are left, too.
        boolean[] near = Positions.near(x, y, at(x, found), at(y, found), side)
        for (int i = 0; i < near.length; i++) {
            if (near[i] && gone.get(i))
                cleared.set(i)
        }
    }

    /** Take neighbouring squares out of a map, and return what is in them. */
    private static BitSet connected(Map<Long, BitSet> squares) {
        BitSet area = new BitSet()
        ArrayDeque<Long> next = new ArrayDeque<>()
        next.add(squares.keySet().iterator().next())
        while (!next.isEmpty()) {
            long square = next.poll()
            BitSet inside = squares.remove(square)
            if (inside == null)
                continue
            area |= inside
            int column = (int) square, row = (int) (square >> 32)
            for (int i = row - 1; i <= row + 1; i++) {
                for (int k = column - 1; k <= column + 1; k++)
                    next.add(packed(k, i))
            }
        }
        return area
    }

    private static long squareOf(double x, double y, double side) {
        return packed((int) Math.floor(x / side), (int) Math.floor(y / side))
    }

    private static long packed(int column, int row) {
        return (((long) row) << 32) | (column & 0xFFFFFFFFL)
    }

    private static double[] at(double[] values, BitSet chosen) {
        double[] some = new double[chosen.cardinality()]
        int k = 0
        for (int i = chosen.nextSetBit(0); i >= 0; i = chosen.nextSetBit(i + 1))
            some[k++] = values[i]
        return some
    }
}
