"""LoRA: the owner's list, the selection of a request, the files, and their application to each row of a batch."""
