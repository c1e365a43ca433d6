"""Simulated 12-lead ECGs: the heart's electricity, findings, reports, and the corpus made of them."""
