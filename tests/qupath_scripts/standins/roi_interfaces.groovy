package qupath.lib.roi.interfaces

import org.locationtech.jts.geom.Geometry
import qupath.lib.geom.Point2
import qupath.lib.regions.ImagePlane

interface ROI {
    Geometry getGeometry()

    boolean isArea()

    boolean isPoint()

    double getArea()

    double getCentroidX()

    double getCentroidY()

    double getBoundsX()

    double getBoundsY()

    double getBoundsWidth()

    double getBoundsHeight()

    boolean contains(double x, double y)

    List<Point2> getAllPoints()

    ImagePlane getImagePlane()
}
