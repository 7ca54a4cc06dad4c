"""Run the picture engine in replicas: child processes of this machine, or Ray Serve on several machines."""
