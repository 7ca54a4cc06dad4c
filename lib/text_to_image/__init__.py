"""Text to image: request → engine → batch → picture. ``engine.Engine`` is the entry point."""
