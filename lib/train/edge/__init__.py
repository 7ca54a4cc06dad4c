"""A run's files for phones and browsers: made by the converter, checked with the runtimes that will run them."""
