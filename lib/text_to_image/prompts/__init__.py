"""How a prompt becomes tokens, weights and conditioning, by the rules of A1111's web UI."""
