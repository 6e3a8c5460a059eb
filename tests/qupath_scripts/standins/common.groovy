package qupath.lib.common

import java.nio.file.Path

class GeneralTools {
    static Path toPath(URI uri) {
        uri.scheme == "file" ? Path.of(uri) : null
    }
}

class ColorTools {
    static Integer packRGB(int red, int green, int blue) {
        (255 << 24) | (red << 16) | (green << 8) | blue
    }
}
