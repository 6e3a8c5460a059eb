package qupath.lib.projects

class Project {
    List<ProjectImageEntry> imageList = []
    List pathClasses = []
}

class ProjectImageEntry {
    List<URI> uRIs = []
    String imageName = "image"
    Object saved

    Collection<URI> getURIs() {
        uRIs
    }

    boolean hasImageData() {
        saved != null
    }

    Object readImageData() {
        saved
    }
}
