"""Exports a run for mobile devices and browsers: made with the converter, checked in the runtimes that will run the file."""
