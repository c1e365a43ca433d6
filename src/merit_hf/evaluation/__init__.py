"""Evaluation of ECG representations: metrics, intervals, result files, prompts, and one file per protocol.

No model code and no reading of raw files here; the commands are thin callers of these modules, which are
imported directly (`from merit_hf.evaluation.metrics.ranking import auroc`) so that none loads what another needs.
"""
