/*
 * Read nuclei that wsi-suite wrote as GeoJSON. A library of the scripts in this folder.
 *
 * QuPath's own reader makes a tree of the whole text and checks every outline again, which takes many
 * times as long, and before 0.6 it leaves out the marks by which our nuclei are known. This one reads
 * a stream, but only what wsi-suite writes.
 */

import com.google.gson.stream.JsonReader
import com.google.gson.stream.JsonToken
import com.google.gson.stream.MalformedJsonException
import groovy.transform.CompileStatic
import qupath.lib.common.ColorTools
import qupath.lib.measurements.MeasurementList
import qupath.lib.measurements.MeasurementListFactory
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs
import qupath.lib.roi.interfaces.ROI

import java.util.function.IntConsumer

@CompileStatic
class GeoJson {

    private static final int REPORT_EACH = 2000

    private final JsonReader json
    private final Map<String, PathClass> classes = [:]
    private final Map<String, Integer> colours = [:]
    private final Map<String, String> texts = [:]  // the same few in every nucleus: kept once
    private double[] numbers = new double[64]

    private GeoJson(Reader text) {
        json = new JsonReader(new WithoutSeparators(text))
        json.setLenient(true)  // several collections, one after the other
    }

    /** As below, without the classes. */
    static List<PathObject> read(Reader text, String source, IntConsumer report) {
        read(text, source, [:], report)
    }

    /**
     * Read detections from one FeatureCollection or from several in a row (RFC 8142).
     *
     * @param text is closed
     * @param source named in messages, as in "nuclei.geojson"
     * @param colours filled with the colours of all classes that are named there, by their names
     * @param report called now and then with the number read so far; what it throws is passed on
     * @throws IllegalStateException for what is not whole, or not as wsi-suite writes it
     */
    static List<PathObject> read(Reader text, String source, Map<String, Integer> colours,
            IntConsumer report) {
        Classes.standard()
        List<PathObject> found = []
        try {
            text.withCloseable {
                def reader = new GeoJson(it)
                reader.readAll(found, report)
                colours.putAll(reader.colours)
            }
        } catch (MalformedJsonException | EOFException problem) {
            throw new IllegalStateException("${source} is not whole GeoJSON (after ${found.size()} " +
                "nuclei: ${problem.getMessage()}).", problem)
        } catch (IOException problem) {
            throw new IllegalStateException("${source} cannot be read (${problem.getMessage()}).", problem)
        } catch (Unexpected problem) {
            throw new IllegalStateException("${source}: nucleus ${found.size() + 1}: " +
                "${problem.getMessage()}. Expected nuclei as wsi-suite writes them; other GeoJSON " +
                "is imported by dropping it onto the image.", problem)
        } catch (IllegalStateException | IllegalArgumentException problem) {
            // How JsonReader says that it met another kind of value than the one asked for; and
            // what is no number, or no id.
            throw new IllegalStateException("${source} is not as wsi-suite writes it (after " +
                "${found.size()} nuclei: ${problem.getMessage()}).", problem)
        }
        found
    }

    private void readAll(List<PathObject> found, IntConsumer report) {
        while (!isAtEnd()) {
            def features = 0
            json.beginObject()
            while (json.hasNext()) {
                def member = json.nextName()
                if (member == "classes") {
                    readClasses()
                    continue
                }
                if (member != "features") {
                    json.skipValue()
                    continue
                }
                features++
                json.beginArray()
                while (json.hasNext()) {
                    found.add(readFeature())
                    if (found.size() % REPORT_EACH == 0)
                        report.accept(found.size())
                }
                json.endArray()
            }
            json.endObject()
            if (features == 0)
                throw new Unexpected("a collection without features")
        }
        report.accept(found.size())
    }

    /** Whether no more collection follows; a service that found no nuclei sends none at all. */
    private boolean isAtEnd() {
        try {
            return json.peek() == JsonToken.END_DOCUMENT
        } catch (EOFException ignored) {
            return true
        }
    }

    private PathObject readFeature() {
        String id = null
        ROI roi = null
        PathClass pathClass = null
        MeasurementList measurements = null
        Map<String, String> metadata = [:]
        json.beginObject()
        while (json.hasNext()) {
            switch (json.nextName()) {
                case "id": id = json.nextString(); break
                case "geometry": roi = readRoi(); break
                case "properties":
                    json.beginObject()
                    while (json.hasNext()) {
                        switch (json.nextName()) {
                            case "objectType": checkType(json.nextString()); break
                            case "classification": pathClass = readClass(); break
                            case "measurements": measurements = readMeasurements(); break
                            case "metadata": metadata = readMetadata(); break
                            default: json.skipValue()
                        }
                    }
                    json.endObject()
                    break
                default: json.skipValue()
            }
        }
        json.endObject()
        if (roi == null)
            throw new Unexpected("a nucleus without a geometry")
        def nucleus = PathObjects.createDetectionObject(roi, pathClass, measurements)
        if (id != null)
            nucleus.setID(UUID.fromString(id))
        if (metadata)
            Nuclei.mark(nucleus, metadata)
        nucleus
    }

    private static void checkType(String type) {
        if (type != "detection")
            throw new Unexpected("an object of the type '${type}'")
    }

    private ROI readRoi() {
        String type = null
        boolean isEllipse = false
        int count = 0
        json.beginObject()
        while (json.hasNext()) {
            switch (json.nextName()) {
                case "type": type = json.nextString(); break
                case "isEllipse": isEllipse = json.nextBoolean(); break
                case "coordinates": count = readNumbers(0); break
                default: json.skipValue()
            }
        }
        json.endObject()
        if (type == "Point" && count == 2)
            return ROIs.createPointsROI(numbers[0], numbers[1], ImagePlane.getDefaultPlane())
        if (type != "Polygon" || count < 8 || count % 2 == 1)
            throw new Unexpected("a ${type} of ${count} numbers")
        isEllipse ? ellipse(count) : polygon(count)
    }

    /** Read numbers out of arrays in arrays, and return how many there are with the first `count`. */
    private int readNumbers(int count) {
        json.beginArray()
        while (json.hasNext()) {
            if (json.peek() == JsonToken.BEGIN_ARRAY) {
                count = readNumbers(count)
                continue
            }
            if (count == numbers.length)
                numbers = Arrays.copyOf(numbers, 2 * count)
            def number = json.nextDouble()
            if (!Double.isFinite(number))
                throw new Unexpected("the coordinate ${number}")
            numbers[count++] = number
        }
        json.endArray()
        count
    }

    private ROI polygon(int count) {
        def vertices = count.intdiv(2) - 1  // the last one is the first again
        def x = new double[vertices], y = new double[vertices]
        for (int i = 0; i < vertices; i++) {
            x[i] = numbers[2 * i]
            y[i] = numbers[2 * i + 1]
        }
        if (numbers[0] != numbers[count - 2] || numbers[1] != numbers[count - 1])
            throw new Unexpected("an outline that is not closed, or has holes")
        ROIs.createPolygonROI(x, y, ImagePlane.getDefaultPlane())
    }

    private ROI ellipse(int count) {
        double left = numbers[0], right = numbers[0], top = numbers[1], bottom = numbers[1]
        for (int i = 2; i < count; i += 2) {
            left = Math.min(left, numbers[i])
            right = Math.max(right, numbers[i])
            top = Math.min(top, numbers[i + 1])
            bottom = Math.max(bottom, numbers[i + 1])
        }
        ROIs.createEllipseROI(left, top, right - left, bottom - top, ImagePlane.getDefaultPlane())
    }

    private PathClass readClass() {
        String name = null
        Integer colour = null
        if (json.peek() == JsonToken.STRING) {
            name = json.nextString()
        } else {
            json.beginObject()
            while (json.hasNext()) {
                switch (json.nextName()) {
                    case "name": name = json.nextString(); break
                    case "color":
                        json.beginArray()
                        colour = ColorTools.packRGB(json.nextInt(), json.nextInt(), json.nextInt())
                        json.endArray()
                        break
                    default: json.skipValue()
                }
            }
            json.endObject()
        }
        def known = classes.get(name)
        if (known == null && name != null) {
            classes.put(name, known = PathClass.fromString(name, colour))
            colours.put(name, colour)
        }
        known
    }

    /** Read the classes that nuclei may have, whether or not one of them has it. */
    private void readClasses() {
        json.beginArray()
        while (json.hasNext())
            readClass()
        json.endArray()
    }

    private MeasurementList readMeasurements() {
        def list = MeasurementListFactory.createMeasurementList(8, MeasurementList.MeasurementListType.FLOAT)
        json.beginObject()
        while (json.hasNext()) {
            def name = shared(json.nextName())
            if (json.peek() == JsonToken.NULL)
                json.nextNull()
            else
                list.put(name, json.nextDouble())  // "NaN" as a text, too
        }
        json.endObject()
        list.close()
        list
    }

    private Map<String, String> readMetadata() {
        Map<String, String> metadata = new LinkedHashMap<>(8)
        json.beginObject()
        while (json.hasNext()) {
            def key = shared(json.nextName())
            def value = json.nextString()
            metadata.put(key, key == Nuclei.PUSHED ? value : shared(value))
        }
        json.endObject()
        metadata
    }

    private String shared(String text) {
        def known = texts.putIfAbsent(text, text)
        known == null ? text : known
    }

    private static class Unexpected extends RuntimeException {
        Unexpected(String message) {
            super(message)
        }
    }

    /** Makes a space of the character that stands before each text in a sequence of them. */
    private static class WithoutSeparators extends FilterReader {
        WithoutSeparators(Reader text) {
            super(text)
        }

        @Override
        int read(char[] buffer, int offset, int length) {
            def count = super.read(buffer, offset, length)
            for (int i = offset; i < offset + count; i++)
                if (buffer[i] == (char) 0x1e)
                    buffer[i] = (char) ' '
            count
        }
    }
}
