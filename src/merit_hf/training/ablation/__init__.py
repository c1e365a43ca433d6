"""Runs that differ in one thing, and the stages that they share."""
