package qupath.lib.roi

import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.GeometryFactory
import qupath.lib.geom.Point2
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.interfaces.ROI

class ROIs {
    private static final GeometryFactory FACTORY = new GeometryFactory()

    static ROI createPointsROI(double x, double y, ImagePlane plane) {
        new Shape("Points", FACTORY.createPoint(new Coordinate(x, y)))
    }

    static ROI createPolygonROI(double[] x, double[] y, ImagePlane plane) {
        def corners = (0..x.length).collect { new Coordinate(x[it % x.length], y[it % x.length]) }
        new PolygonROI(FACTORY.createPolygon(corners as Coordinate[]))
    }

    static ROI createEllipseROI(double left, double top, double width, double height, ImagePlane plane) {
        def angles = (0..<64).collect { 2 * Math.PI * it / 64 }
        def x = angles.collect { left + width / 2 * (1 + Math.cos(it)) } as double[]
        def y = angles.collect { top + height / 2 * (1 + Math.sin(it)) } as double[]
        new Shape("Ellipse", createPolygonROI(x, y, plane).geometry)
    }
}

class Shape implements ROI {
    final String kind
    final Geometry geometry

    Shape(String kind, Geometry geometry) {
        this.kind = kind
        this.geometry = geometry
    }

    boolean isArea() {
        geometry.getDimension() == 2
    }

    boolean isPoint() {
        geometry.getDimension() == 0
    }

    double getArea() {
        geometry.getArea()
    }

    double getCentroidX() {
        geometry.getCentroid().x
    }

    double getCentroidY() {
        geometry.getCentroid().y
    }

    double getBoundsX() {
        geometry.getEnvelopeInternal().minX
    }

    double getBoundsY() {
        geometry.getEnvelopeInternal().minY
    }

    double getBoundsWidth() {
        geometry.getEnvelopeInternal().width
    }

    double getBoundsHeight() {
        geometry.getEnvelopeInternal().height
    }

    boolean contains(double x, double y) {
        geometry.contains(geometry.getFactory().createPoint(new Coordinate(x, y)))
    }

    List<Point2> getAllPoints() {
        geometry.getCoordinates().collect { new Point2(x: it.x, y: it.y) }
    }

    ImagePlane getImagePlane() {
        null
    }
}

class PolygonROI extends Shape {
    PolygonROI(Geometry geometry) {
        super("Polygon", geometry)
    }

    @Override
    List<Point2> getAllPoints() {
        super.getAllPoints().dropRight(1)  // the last corner is the first again
    }
}
