"""What a served run keeps of its answers, and what that says: truth, drift, and when to train anew."""
