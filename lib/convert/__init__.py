"""A model from one format to another, with a proof: runner x edge x proof."""
