"""The nucleus detector: network, training, evaluation, and the table it fills."""
