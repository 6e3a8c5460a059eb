package qupath.lib.color

class ColorDeconvolutionStains {
    List<StainVector> stains
    boolean dab = true
    double maxRed = 255, maxGreen = 255, maxBlue = 255

    StainVector getStain(int number) {
        stains[number - 1]
    }

    boolean isH_DAB() {
        dab
    }
}

class StainVector {
    double[] array
}
