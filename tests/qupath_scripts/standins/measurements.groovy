package qupath.lib.measurements

class MeasurementList {
    enum MeasurementListType { DOUBLE, FLOAT }

    private final Map<String, Double> values = [:]

    void put(String name, double value) {
        values[name] = value
    }

    double get(String name) {
        values.getOrDefault(name, Double.NaN)
    }

    boolean containsKey(String name) {
        values.containsKey(name)
    }

    List<String> getMeasurementNames() {
        values.keySet() as List
    }

    void close() {
    }
}

class MeasurementListFactory {
    static MeasurementList createMeasurementList(int capacity, MeasurementList.MeasurementListType type) {
        new MeasurementList()
    }
}
