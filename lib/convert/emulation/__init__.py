"""Emulation of lossy precisions: rounds the source model independently of the tools, to check the file that a tool wrote."""
