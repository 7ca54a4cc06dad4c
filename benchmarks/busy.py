"""Keeps cores busy like a training run: endless steps of a small convolutional network.

python benchmarks/busy.py NICE THREADS
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as set by lib/jobs.py

import torch
from torch import nn

if __name__ == "__main__":
    os.nice(int(sys.argv[1]))
    torch.set_num_threads(int(sys.argv[2]))
    network = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    pictures, labels = torch.randn(64, 3, 64, 64), torch.randint(10, (64,))
    print("ready", flush=True)
    while True:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pictures), labels).backward()
        optimizer.step()
