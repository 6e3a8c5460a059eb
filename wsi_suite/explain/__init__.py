"""Why a nucleus got its class: Grad-CAM over the field around it."""
