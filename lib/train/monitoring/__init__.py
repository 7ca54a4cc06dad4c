"""Monitors a served run: prediction log, ground-truth labels, drift detection, and when to retrain."""
