"""Record-wise steps lifted to batches, and neighbours fused into one generated loop."""
