"""Studies of many results: agreement with readers, calibration of thresholds, control charts."""
