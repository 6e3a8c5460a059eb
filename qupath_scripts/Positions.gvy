/*
 * Positions of nuclei: packed as text, kept by run, found near a place. For QuPath 0.4 - 0.7.
 *
 * The part of the library that knows nothing of QuPath; Nuclei.gvy needs it and is loaded after it.
 */

import groovy.transform.CompileStatic
import java.nio.ByteBuffer
import java.util.function.IntConsumer
import java.util.zip.Deflater
import java.util.zip.DeflaterOutputStream
import java.util.zip.InflaterInputStream

@CompileStatic
class Positions {

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

    /** Append a number with two decimals, many times faster than String.format. */
    static StringBuilder appendHundredths(StringBuilder text, double value) {
        long hundredths = (long) Math.rint(value * 100d)
        if (hundredths < 0) {
            text.append((char) '-')
            hundredths = -hundredths
        }
        long decimals = hundredths % 100L
        text.append(hundredths.intdiv(100L)).append((char) '.')
        return (decimals < 10 ? text.append((char) '0') : text).append(decimals)
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

    /**
     * Where nuclei of ours were put in and where they were deleted, both by group.
     *
     * A group is the run that found them and the class that it gave them: as groupOf() joins them.
     */
    @CompileStatic
    static class Record {
        Map<String, long[]> pushed = new TreeMap<>()
        Map<String, long[]> deleted = new TreeMap<>()

        static String groupOf(String run, String compartment) {
            return run + "\t" + compartment
        }

        static String runOf(String group) {
            return group.split("\t", 2)[0]
        }

        /** Return the class of a group; "" where an earlier version of wsi-suite did not keep it. */
        static String compartmentOf(String group) {
            int tab = group.indexOf("\t")
            return tab < 0 ? "" : group.substring(tab + 1)
        }

        /** Read what write() wrote; null: nothing was put in yet. */
        static Record read(String text) {
            try {
                return parse(text == null ? new String[0] : text.split("\n"))
            } catch (IllegalArgumentException | IOException problem) {
                throw new IllegalStateException("The record of the nuclei that were put into this " +
                    "image is damaged, so deleted ones cannot be told: take the image's data from " +
                    "a backup, or run removeProperty('wsi-suite record') on it.", problem)
            }
        }

        private static Record parse(String[] lines) {
            Record record = new Record()
            for (String line : lines) {
                int first = line.indexOf(" "), last = line.lastIndexOf(" ")
                Map<String, long[]> part = line.startsWith("deleted ") ? record.deleted :
                    line.startsWith("pushed ") ? record.pushed : null
                if (part != null)
                    part.put(line.substring(first + 1, Math.max(first + 1, last)),
                        unpack(line.substring(last + 1)))
            }
            return record
        }

        /** Write lines: "pushed" or "deleted", the group and its positions. */
        String write() {
            List<String> lines = []
            for (Map.Entry<String, long[]> entry : pushed.entrySet())
                lines.add("pushed " + entry.getKey() + " " + pack(entry.getValue()))
            for (Map.Entry<String, long[]> entry : deleted.entrySet())
                lines.add("deleted " + entry.getKey() + " " + pack(entry.getValue()))
            return lines.join("\n")
        }
    }

    /** Numbers, one after another. */
    @CompileStatic
    static class LongList {
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

        /** Return the numbers as they were added. */
        long[] all() {
            return Arrays.copyOf(values, size)
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
    static class Grid {
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

        /** Mark the points within reach of a place. */
        void markNear(boolean[] hit, double atX, double atY, double reach) {
            around(atX - reach, atY - reach, atX + reach, atY + reach) { int i ->
                if (Math.hypot(x[i] - atX, y[i] - atY) <= reach)
                    hit[i] = true
            }
        }

        /** Visit the points of the cells that a rectangle touches, and perhaps some others. */
        void around(double left, double top, double right, double bottom, IntConsumer visit) {
            for (long row = cellOf(top); row <= cellOf(bottom); row++) {
                for (long column = cellOf(left); column <= cellOf(right); column++) {
                    long wanted = hash(column, row)
                    int at = Arrays.binarySearch(cells, wanted)
                    while (at > 0 && cells[at - 1] == wanted)
                        at--
                    for (; at >= 0 && at < cells.length && cells[at] == wanted; at++)
                        visit.accept(order[at])
                }
            }
        }

        private long cellOf(double value) {
            return (long) Math.floor(value / cell)
        }

        private static long hash(long column, long row) {
            return ((row & 0x7FFFL) << 16) | (column & 0xFFFFL)
        }
    }
}
