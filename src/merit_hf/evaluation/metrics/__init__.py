"""Numbers from scores: ranking metrics, thresholds, calibration, intervals."""
