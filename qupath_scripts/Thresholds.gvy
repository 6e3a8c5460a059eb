/*
 * From an optical density to Negative, 1+, 2+, 3+ and the H-score. A library of the scripts in this
 * folder; the rules are those of wsi-suite and of QuPath.
 */

import com.google.gson.Gson
import com.google.gson.JsonParseException
import groovy.transform.CompileStatic
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.classes.PathClassTools

@CompileStatic
class Thresholds {

    /** What thresholds are held against: the first of these that a nucleus has. */
    static final List<String> MEASUREMENTS = ["Nucleus: DAB OD mean", "Disc: DAB OD mean"]

    static final List<Double> DEFAULT = [0.2d, 0.4d, 0.6d]

    static final List<String> GRADES = ["Negative", "1+", "2+", "3+"]

    /** The property of the image in which thresholds are remembered, a list a compartment. */
    static final String REMEMBERED = "wsi-suite thresholds"

    /** Thresholds never come nearer to each other than this. */
    static final double GAP = 0.01d

    final PathClass compartment  // null where nuclei have no class but their intensity
    private final List<PathObject> objects = []
    private final List<Float> values = []
    private float[] sorted = new float[0]

    private Thresholds(PathClass compartment) {
        this.compartment = compartment
    }

    /** Sort detections by compartment, without those that carry no such measurement at all. */
    static List<Thresholds> of(Collection<PathObject> detections) {
        Map<PathClass, Thresholds> found = [:]
        for (PathObject object : detections) {
            def measured = valueOf(object)
            if (measured == null || object.getPathClass()?.getName()?.endsWith("*"))  // "Ignore*"
                continue
            def base = PathClassTools.getNonIntensityAncestorClass(object.getPathClass())
            def key = base == null ? PathClass.NULL_CLASS : base
            def group = found.computeIfAbsent(key) { PathClass it ->
                new Thresholds(it == PathClass.NULL_CLASS ? null : it)
            }
            group.objects.add(object)
            group.values.add(measured)
        }
        def groups = new ArrayList<Thresholds>(found.values())
        groups.each { Thresholds it -> it.sorted = finite(it.values) }
        groups.sort { Thresholds it -> it.getName() }
    }

    /** Return what a detection was measured; NaN for a nucleus of ours that was not, else null. */
    private static Float valueOf(PathObject object) {
        def list = object.getMeasurementList()
        for (String name : MEASUREMENTS)
            if (list.containsKey(name))
                return (float) list.get(name)
        Nuclei.isOurs(object) ? Float.NaN : null
    }

    private static float[] finite(List<Float> values) {
        def array = values.findAll { Float it -> !it.isNaN() } as float[]
        Arrays.sort(array)
        array
    }

    String getName() {
        compartment == null ? "All nuclei" : compartment.toString()
    }

    int getNotMeasurable() {
        values.size() - sorted.length
    }

    /** Return how many nuclei are Negative, 1+, 2+, 3+; those that cannot be measured are none. */
    int[] counts(List<Double> thresholds) {
        def starts = thresholds.collect { firstFrom(it) }
        [starts[0], starts[1] - starts[0], starts[2] - starts[1], sorted.length - starts[2]] as int[]
    }

    /** Return how many values lie below a threshold. */
    private int firstFrom(double threshold) {
        int low = 0, high = sorted.length
        while (low < high) {
            int middle = (low + high) >>> 1
            if (sorted[middle] >= (float) threshold)
                high = middle
            else
                low = middle + 1
        }
        low
    }

    /** Give each nucleus the class of its intensity. */
    void apply(List<Double> thresholds) {
        for (int i = 0; i < objects.size(); i++)
            objects[i].setPathClass(classOf(compartment, grade(values[i], thresholds)))
    }

    Collection<PathObject> getObjects() {
        objects
    }

    /**
     * Return how many of the three thresholds a value reaches; -1 for NaN, which is no intensity.
     *
     * Both are compared in single precision, in which QuPath keeps measurements: 0.35 reaches 0.35.
     */
    static int grade(double value, List<Double> thresholds) {
        Double.isNaN(value) ? -1 : thresholds.count { Double it -> (float) value >= it.floatValue() } as int
    }

    static PathClass classOf(PathClass compartment, int grade) {
        switch (grade) {
            case 0: return PathClass.getNegative(compartment)
            case 1: return PathClass.getOnePlus(compartment)
            case 2: return PathClass.getTwoPlus(compartment)
            case 3: return PathClass.getThreePlus(compartment)
            default: return compartment == null ? PathClass.NULL_CLASS : compartment
        }
    }

    /** Return 100 (n1 + 2 n2 + 3 n3) / n, or NaN without nuclei. */
    static double hScore(int[] counts) {
        def n = counts[0] + counts[1] + counts[2] + counts[3]
        n == 0 ? Double.NaN : 100d * (counts[1] + 2 * counts[2] + 3 * counts[3]) / n
    }

    /** Return 100 positive / n, or NaN without nuclei. */
    static double positivePercent(int[] counts) {
        def n = counts[0] + counts[1] + counts[2] + counts[3]
        n == 0 ? Double.NaN : 100d * (n - counts[0]) / n
    }

    /** Say a score in words; one of negative nuclei alone is 0, and none needs a reason. */
    static String inWords(int[] counts) {
        counts.every { it == 0 } ? "no score: no nucleus here has an intensity" :
            String.format(Locale.ROOT, "H-score %.1f, %.1f %% positive", hScore(counts), positivePercent(counts))
    }

    /**
     * Count nuclei by the classes that they have: Negative, 1+, 2+, 3+, of each compartment and,
     * where there are several, of all. Names are those of QuPath.
     */
    static Map<String, int[]> tallies(Collection<PathObject> detections) {
        Map<String, int[]> counts = new TreeMap<>()
        for (PathObject object : detections) {
            def pathClass = object.getPathClass()
            def grade = GRADES.indexOf(pathClass?.getName())
            if (grade < 0)
                continue
            def base = PathClassTools.getNonIntensityAncestorClass(pathClass)
            counts.computeIfAbsent(base == null ? "" : base.toString()) { new int[4] }[grade]++
        }
        Map<String, int[]> tallies = [:]
        def unnamed = counts.size() > 1 ? "Without compartment" : "All nuclei"
        counts.each { name, values -> tallies.put(name ?: unnamed, values) }
        if (counts.size() > 1) {
            def all = (0..3).collect { int grade -> counts.values().sum { (it as int[])[grade] } as int }
            tallies.put(tallies.keySet().join(" + "), all as int[])
        }
        tallies
    }

    /** Return thresholds with one set again; the others give way, so that they keep rising. */
    static List<Double> moved(List<Double> thresholds, int index, double value, double largest) {
        def moved = new ArrayList<Double>(thresholds)
        moved[index] = Math.max(index * GAP, Math.min(largest - (2 - index) * GAP, value))
        for (int i = index + 1; i < 3; i++)
            moved[i] = Math.max(moved[i], moved[i - 1] + GAP)
        for (int i = index - 1; i >= 0; i--)
            moved[i] = Math.min(moved[i], moved[i + 1] - GAP)
        moved.collect { Double it -> Math.round(it * 1000d) / 1000d }
    }

    /** Return thresholds that sliders move; scripts know no inner class by its name. */
    static Moving moving(List<Double> thresholds) {
        new Moving(thresholds)
    }

    /** Three thresholds under the user's hand. */
    @CompileStatic
    static class Moving {
        List<Double> values
        private List<Double> before  // another one was moved
        private int index = -1

        Moving(List<Double> values) {
            this.values = values
        }

        /** Move one to and fro: what it pushed aside comes back as it goes back. */
        List<Double> move(int index, double value, double largest) {
            if (index != this.index)
                before = values
            this.index = index
            values = moved(before, index, value, largest)
        }
    }

    /** Return the number that was typed, with a point or a comma; null where there is none. */
    static Double parsed(String text) {
        def number = text?.strip()?.replace(",", ".")
        number ==~ /\d*\.?\d+|\d+\./ ? number as Double : null
    }

    /** Return what was remembered, by compartment; nothing where it is not as we write it. */
    static Map<String, List<Double>> remembered(Object property) {
        try {
            def told = new Gson().fromJson(property as String, Object)
            return (told instanceof Map ? told as Map<String, List<Double>> : [:]).findAll { name, values ->
                values instanceof List && (values as List).size() == 3 &&
                    (values as List).every { it instanceof Number }
            }
        } catch (JsonParseException ignored) {
            return [:]
        }
    }

    static String toRemember(Map<String, List<Double>> thresholds) {
        new Gson().toJson(thresholds)
    }
}
