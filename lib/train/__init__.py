"""A classifier from a folder of labelled pictures: data, training, trackers, and a record of every run."""
