package qupath.lib.gui.prefs

class PathPrefs {
    private static final Map<String, Preference> KNOWN = [:]

    static Preference createPersistentPreference(String name, String value) {
        KNOWN.computeIfAbsent(name) { new Preference(value) }
    }

    static Preference userPathProperty() {
        createPersistentPreference("userPath", null)
    }

    static class Preference {
        private String value

        Preference(String value) {
            this.value = value
        }

        String get() {
            value
        }

        void set(String value) {
            this.value = value
        }
    }
}
