"""Turn a prompt into tokens, weights and conditioning, by the rules of A1111's web UI."""
