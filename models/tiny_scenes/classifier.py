"""The evaluation classifier: a small network that predicts object, color and place, trained on rendered pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from models.tiny_scenes import store


class Classifier(nn.Module):
    """Maps [n, 3, 128, 128] RGB in [-1, 1] to logits for object, color and place. About 0.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())

        self.body = nn.Sequential(block(3, 24), block(24, 48), block(48, 96), block(96, 128), block(128, 160))
        self.heads = nn.ModuleDict({name: nn.Linear(2 * 160, len(words)) for name, words in store.TABLES.items()})

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Returns pooled features [n, 320]."""
        x = self.body(F.avg_pool2d(pictures, 2))
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.features(pictures)
        return {name: head(x) for name, head in self.heads.items()}


def train_classifier(data: Path, steps: int, batch: int = 64, seed: int = 1) -> Classifier:
    """Trains on a store of all combinations.

    Every second step blurs the pictures and adds noise, so that predictions depend on content, not on sharpness.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures, labels = store.read(data, device, "pictures", "labels")
    model = Classifier().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(pictures), (batch,), device=device)
        x, targets = pictures[rows].float() / 127.5 - 1, labels[rows].long()
        if step % 2:
            x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear") + 0.04 * torch.randn_like(x)
        out = model(x)
        loss = torch.stack([F.cross_entropy(out[name], targets[:, k]) for k, name in enumerate(store.TABLES)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"classifier {step} loss {loss.item():.3f}", flush=True)
    return model.eval().cpu()
