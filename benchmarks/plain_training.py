"""The baseline of ``benchmarks/train.py``: a plain, well-tuned fine-tuning loop. Prints JSON."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import timm
import torch
from torch.nn import functional as F

from lib.train import datasets
from lib.train.pixel_cache import pixels
from lib.train.torch_training.weights import package_weights

name, folder, size, epochs, batch, threads, seed = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
torch.set_num_threads(threads)
torch.manual_seed(seed)
data = datasets.make(name, folder)
split, labels = data.split(0.1, seed), torch.tensor([item.label for item in data.items])
x = torch.from_numpy(np.array(pixels(data, size, data.cache))).permute(0, 3, 1, 2)
model = timm.create_model("tf_efficientnet_lite0", num_classes=len(data.classes))
model.load_state_dict(package_weights(), strict=False)
model.to(memory_format=torch.channels_last)
head = list(model.classifier.parameters())
body = [p for n, p in model.named_parameters() if not n.startswith("classifier")]
optimizer = torch.optim.AdamW([{"params": body, "lr": 1e-3}, {"params": head, "lr": 1e-2}], weight_decay=0.01, fused=True)
train, val = torch.tensor(split.train), torch.tensor(split.val)
steps = -(-len(train) // batch)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [1e-3, 1e-2], total_steps=epochs * steps)
began = time.perf_counter()
for _ in range(epochs):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    for part in train[torch.randperm(len(train))].split(batch):
        loss = F.cross_entropy(model((x[part].float() - 127) / 128), labels[part])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        right = torch.cat([model((x[p].float() - 127) / 128).argmax(1) == labels[p] for p in val.split(64)])
print(json.dumps({"seconds": time.perf_counter() - began, "accuracy": right.float().mean().item()}))
