"""The picture engine in processes of their own: child processes of this machine, or Ray Serve on many."""
