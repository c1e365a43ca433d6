"""Tests on worse recordings: fewer leads, lower rates, noise, exchanged electrodes."""
