package qupath.lib.geom

class Point2 {
    double x, y
}
