"""Trains an image classifier from a folder of labelled images: datasets, training, trackers and run records."""
