"""Pictures: the ECG page, score bars, curves, results, descriptions."""
