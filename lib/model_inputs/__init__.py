"""What a model takes: its signature, sizes of dynamic dimensions, samples of real inputs, made-up inputs."""
