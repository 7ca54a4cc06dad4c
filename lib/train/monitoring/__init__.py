"""Monitoring of a run that is used: logged predictions, true labels, drift, and when to train again."""
