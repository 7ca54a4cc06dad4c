"""LoRA: the owner's list, what a request chooses from it, the files, and their part in every row of a batch."""
