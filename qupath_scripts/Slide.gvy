/*
 * What image is open in QuPath, in the words of wsi-suite. A library of the scripts in this folder.
 */

import com.google.gson.JsonParser
import groovy.transform.CompileStatic
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.operation.union.UnaryUnionOp
import qupath.lib.common.GeneralTools
import qupath.lib.images.ImageData
import qupath.lib.images.servers.ImageServer
import qupath.lib.images.servers.ImageServerBuilder
import qupath.lib.images.servers.PixelCalibration
import qupath.lib.io.GsonTools
import qupath.lib.objects.PathObject
import qupath.lib.objects.TMACoreObject
import qupath.lib.projects.Project
import qupath.lib.roi.interfaces.ROI

@CompileStatic
class Slide {

    /** Ways to show a file as it is, in QuPath's own words; all others move or change pixels. */
    private static final List<String> UNCHANGED = ["uri", "pyramidize"]

    /** Return the file of an image, which has to show a slide as it was scanned. */
    static File file(ImageData imageData) {
        if (imageData == null)
            throw new IllegalStateException("No image is open: open the slide first.")
        def server = imageData.getServer()
        def changed = waysToShow(server) - UNCHANGED
        if (changed)
            throw new IllegalStateException("This image is rotated, cropped or changed otherwise " +
                "(${changed.join(', ')}), so nuclei would not lie where they are in its file: add the " +
                "slide to the project as it is, and open that.")
        if (!server.isRGB())
            throw new IllegalStateException("This image is not 8-bit RGB: wsi-suite works on " +
                "brightfield slides.")
        if (server.nZSlices() > 1 || server.nTimepoints() > 1)
            throw new IllegalStateException("This image is a stack of ${server.nZSlices()} planes " +
                "and ${server.nTimepoints()} times: wsi-suite works on slides of a single plane.")
        def uris = server.getURIs()
        def path = uris.isEmpty() ? null : GeneralTools.toPath(uris.first())
        if (path == null)
            throw new IllegalStateException("The open image is not a file on this computer.")
        path.toFile()
    }

    /** Return what an image's recipe is made of, as in [pyramidize, cropped, uri]. */
    private static List<String> waysToShow(ImageServer server) {
        def recipe = GsonTools.getInstance().toJson(server.getBuilder(), ImageServerBuilder.ServerBuilder)
        def ways = recipe =~ /"builderType"\s*:\s*"(\w+)"/
        List<String> found = []
        while (ways.find())
            found << ways.group(1)
        found
    }

    /** Return how QuPath reads an image: reader, size, and pixel size with who set it. */
    static Map<String, Object> describe(ImageData imageData) {
        def server = imageData.getServer()
        def builder = server.getBuilder()
        def isPlain = builder instanceof ImageServerBuilder.DefaultImageServerBuilder
        def arguments = isPlain
            ? (builder as ImageServerBuilder.DefaultImageServerBuilder).getArgs() : null
        def mpp = pixelSize(server.getPixelCalibration())
        [
            server_class: server.getClass().getName(),
            server_args: (arguments ?: new String[0]) as List<String>,
            width: server.getWidth(),
            height: server.getHeight(),
            mpp: mpp,
            mpp_set_by_hand: mpp != null &&
                mpp != pixelSize(server.getOriginalMetadata().getPixelCalibration()),
        ] as Map<String, Object>
    }

    private static List<Double> pixelSize(PixelCalibration calibration) {
        calibration.hasPixelSizeMicrons()
            ? [calibration.getPixelWidthMicrons(), calibration.getPixelHeightMicrons()]
            : null
    }

    /** Return the stain vectors of an image; null where its type is not set: QuPath's defaults. */
    static Map<String, List<Double>> stains(ImageData imageData) {
        def type = imageData.getImageType()
        if (type == null || type == ImageData.ImageType.UNSET)
            return null
        def stains = imageData.getColorDeconvolutionStains()
        if (stains == null || !stains.isH_DAB())
            throw new IllegalStateException("The type of this image is '${type}', so DAB cannot be " +
                "measured: if DAB is its stain, set the type to Brightfield (H-DAB) in the Image tab.")
        [
            hematoxylin: stains.getStain(1).getArray() as List<Double>,
            dab: stains.getStain(2).getArray() as List<Double>,
            background: [stains.getMaxRed(), stains.getMaxGreen(), stains.getMaxBlue()],
        ]
    }

    /**
     * Return the regions that are to be scored, and how to call them.
     *
     * @param chosen objects of the image; annotations and TMA cores among them count
     * @param className annotations of this class alone; "": whatever the class
     * @return regions with an area, of which there may be none, and as in "2 annotations"
     */
    static Tuple2<List<PathObject>, String> regions(Collection<? extends PathObject> chosen, String className) {
        def drawn = chosen.findAll { PathObject it ->
            className ? it.isAnnotation() && it.getPathClass()?.toString() == className
                : it.isAnnotation() || it.isTMACore()
        } as List<PathObject>
        def regions = drawn.findAll { PathObject it ->
            it.getROI()?.isArea() && !(it instanceof TMACoreObject && ((TMACoreObject) it).isMissing())
        }
        if (className && !regions)
            throw new IllegalStateException("No annotation of the class '${className}' has an " +
                "area: draw one, or empty annotationClass at the top of this script.")
        if (drawn && !regions)
            throw new IllegalStateException("What is selected has no area (points, a line or a core " +
                "that is missing): select an outlined region, or nothing to score all tissue.")
        if (!regions)
            return new Tuple2<>(regions, "all tissue")
        def kind = regions.every { PathObject it -> it.isTMACore() } ? "TMA core" : "annotation"
        def left = drawn.size() - regions.size()
        def words = "${regions.size()} ${kind}${regions.size() == 1 ? '' : 's'}" +
            (left ? " (${left} without an area left out)" : "")
        new Tuple2<>(regions, words.toString())
    }

    /** Return annotations as GeoJSON: shape, name and class, nothing else. */
    static Map<String, Object> rois(Collection<PathObject> annotations) {
        def features = annotations.collect { annotation ->
            // Not toJsonTree: QuPath's writer of shapes needs a text to write to.
            def shape = GsonTools.getInstance().toJson(annotation.getROI(), ROI)
            [
                type: "Feature",
                geometry: JsonParser.parseString(shape),
                properties: [
                    objectType: "annotation",
                    name: annotation.getName(),
                    classification: annotation.getPathClass()?.toString(),
                ],
            ]
        }
        [type: "FeatureCollection", features: features] as Map<String, Object>
    }

    /** Return what annotations cover together. */
    static Geometry area(Collection<PathObject> annotations) {
        UnaryUnionOp.union(annotations.collect { it.getROI().getGeometry() })
    }

    /** Return the detections that QuPath counts for annotations, by centroid; without any, all. */
    static Collection<PathObject> detections(ImageData imageData, Collection<PathObject> annotations) {
        def hierarchy = imageData.getHierarchy()
        if (annotations.isEmpty())
            return hierarchy.getDetectionObjects()
        def found = new LinkedHashSet<PathObject>()  // annotations may overlap
        for (PathObject annotation : annotations)
            found.addAll(hierarchy.getObjectsForROI(null, annotation.getROI()))
        found.findAll { PathObject it -> it.isDetection() }
    }

    /** Return the folders of a project's images, in the order of their names. */
    static List<String> folders(Project project) {
        def files = (project?.getImageList() ?: []).collectMany { entry ->
            entry.getURIs().collect { GeneralTools.toPath(it)?.toFile() }
        }
        files.findAll().collect { File file -> file.getParent() }.toSet().sort()
    }

    /** Return the folders with results of a slide: those among the given ones, or in them. */
    static List<File> resultFolders(File slide, Collection<File> results) {
        def stem = slide.getName().replaceFirst(/(?<=.)\.[^.]*$/, "")
        // <stem>-<6 hexadecimal digits> is used where two slides of one name went to the same folder.
        def ofSlide = ~("\\Q" + stem + "\\E(-[0-9a-f]{6})?")
        List<File> folders = []
        for (File folder : results) {
            def isItself = ofSlide.matcher(folder.getName()).matches() && filesIn(folder)
            def among = isItself ? [folder] : (folder.listFiles() ?: new File[0]) as List<File>
            folders.addAll(among.findAll { File it ->
                it.isDirectory() && ofSlide.matcher(it.getName()).matches()
            })
        }
        folders
    }

    /** Return the GeoJSON files of a slide's results, in the order of their names. */
    static List<File> nucleiFiles(File slide, Collection<File> results) {
        def folders = resultFolders(slide, results)
        if (folders.isEmpty())
            throw new IllegalStateException("No results of ${slide.getName()} in " +
                "${results.join(' or ')}: expected the folder that wsi-suite wrote results to " +
                "(resultsFolder at the top of this script).")
        if (folders.size() > 1)
            throw new IllegalStateException("Several results of ${slide.getName()}: " +
                "${folders.join(', ')}. Leave one of them there, and run the script again.")
        def files = filesIn(folders[0])
        if (files.isEmpty())
            throw new IllegalStateException("No nuclei*.geojson in ${folders[0]}: wsi-suite has not " +
                "finished this slide; run it again.")
        files
    }

    private static List<File> filesIn(File folder) {
        def files = (folder.listFiles() ?: new File[0]).findAll { File it ->
            it.getName() ==~ /nuclei.*\.geojson/
        }
        files.sort { File it -> it.getName() }
    }
}
