"""What frozen features know: linear probe and structure probe, and the regressions under them."""
