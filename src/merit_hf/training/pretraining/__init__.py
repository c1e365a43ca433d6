"""Pretraining on ECG-report pairs."""
