"""Text to image: request → engine → batch → picture. ``engine.Engine`` is the way in."""
