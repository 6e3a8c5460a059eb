"""Export of a model to TorchScript, ONNX and QuPath's InstanSeg extension."""
