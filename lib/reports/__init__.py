"""What reports on models share: words, figures, arrays, the machine. Used by capabilities; knows no format."""
