"""Runs as one file for other programs: StableHLO, ONNX, or a run folder packed for jaxseg."""
