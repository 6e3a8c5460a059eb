"""The nucleus detector: network, decoding of its output, model folders."""
