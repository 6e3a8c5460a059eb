package qupath.lib.io

import com.google.gson.Gson
import com.google.gson.GsonBuilder
import com.google.gson.JsonSerializationContext
import com.google.gson.JsonSerializer
import qupath.lib.roi.interfaces.ROI

class GsonTools {
    static Gson getInstance() {
        new GsonBuilder().registerTypeHierarchyAdapter(ROI, { ROI roi, type, JsonSerializationContext context ->
            def corners = roi.geometry.coordinates.collect { [it.x, it.y] }
            context.serialize(roi.isPoint()
                ? [type: "Point", coordinates: corners[0]] : [type: "Polygon", coordinates: [corners]])
        } as JsonSerializer).registerTypeHierarchyAdapter(
            qupath.lib.images.servers.ImageServerBuilder.ServerBuilder, { builder, type, context ->
                context.serialize([builderType: builder.builderType])
            } as JsonSerializer).create()
    }
}
