package qupath.lib.images.servers

interface ImageServerBuilder {
    interface ServerBuilder {
    }

    static class DefaultImageServerBuilder implements ServerBuilder {
        String builderType = "uri"
        String[] args
    }
}

class ImageServer {
    List<URI> uRIs = []
    ImageServerBuilder.ServerBuilder builder = new ImageServerBuilder.DefaultImageServerBuilder()
    PixelCalibration pixelCalibration = new PixelCalibration()
    ImageServerMetadata originalMetadata = new ImageServerMetadata()
    int width, height, planes = 1, times = 1
    boolean rGB = true

    Collection<URI> getURIs() {
        uRIs
    }

    boolean isRGB() {
        rGB
    }

    int nZSlices() {
        planes
    }

    int nTimepoints() {
        times
    }
}

class ImageServerMetadata {
    PixelCalibration pixelCalibration = new PixelCalibration()
}

class PixelCalibration {
    Double x, y

    boolean hasPixelSizeMicrons() {
        x != null
    }

    double getPixelWidthMicrons() {
        x
    }

    double getPixelHeightMicrons() {
        y
    }

    double getAveragedPixelSizeMicrons() {
        (x + y) / 2
    }
}

class OpenslideImageServer extends ImageServer {
}
