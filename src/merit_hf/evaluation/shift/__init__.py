"""Tests on another corpus than the probe was trained on, and the maps between their labels."""
