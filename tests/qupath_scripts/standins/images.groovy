package qupath.lib.images

import qupath.lib.color.ColorDeconvolutionStains
import qupath.lib.images.servers.ImageServer
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.plugins.workflow.Workflow

class ImageData {
    enum ImageType { BRIGHTFIELD_H_DAB, BRIGHTFIELD_H_E, UNSET }

    ImageServer server
    ImageType imageType = ImageType.UNSET
    ColorDeconvolutionStains colorDeconvolutionStains
    boolean changed
    final PathObjectHierarchy hierarchy = new PathObjectHierarchy()
    final Workflow historyWorkflow = new Workflow()
    private final Map<String, Object> kept = [:]

    Object getProperty(String key) {
        hasProperty(key) ? metaClass.getProperty(this, key) : kept[key]
    }

    void setProperty(String key, Object value) {
        hasProperty(key) ? metaClass.setProperty(this, key, value) : kept.put(key, value)
    }
}
