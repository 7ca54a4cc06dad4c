"""What a lossy precision must give of its source: our own rounding of the source, run beside the file that a tool made."""
