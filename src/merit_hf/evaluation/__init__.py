"""Evaluation of ECG representations: metrics, intervals, result files, prompts, and one file per protocol.

No model code and no reading of raw files here. The commands only call these modules, which are imported directly
(`from merit_hf.evaluation.comparison import compare_predictions`) so that none loads what another needs.
"""
