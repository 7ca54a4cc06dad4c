"""The training loop: batches in, events out, a checkpoint after every epoch.

Both techniques share the loop. Feature extraction trains the head on cached features; fine-tuning trains the whole
network on images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib.errors import JobFailed
from lib.train.backbones import choose
from lib.train.best_epoch import BestEpoch
from lib.train.events import Built, Epoch, Event, Stage, Step
from lib.train.torch_training import checkpoint
from lib.train.torch_training.batches import Batches, cut, order
from lib.train.torch_training.classifier import TorchClassifier
from lib.train.torch_training.distribution import Alone, distribution
from lib.train.torch_training.features import features
from lib.train.torch_training.network import build_network
from lib.train.torch_training.precision import Precision, check
from lib.train.training import Training


class Loop:
    """The state of one training. ``network`` is the whole network, ``trained`` the part being trained."""

    def __init__(self, training: Training, where: Alone) -> None:
        recipe = training.recipe
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # avoids an extra write of every new tensor
        self.training, self.recipe, self.where = training, recipe, where
        check(recipe.mixed_precision, where.device)
        backbone = choose(recipe.backbone, training.backbones)
        self.network, self.backbone_weights = build_network(
            recipe, backbone, len(training.classes), recipe.weights == "pretrained"
        )
        self.network.to(where.device)
        self.frozen = recipe.technique == "feature_extraction"
        groups = [{"params": list(self.network.head.parameters()), "lr": recipe.head_learning_rate}]
        if not self.frozen:
            groups.insert(0, {"params": list(self.network.backbone.parameters()), "lr": recipe.learning_rate})
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
        self.train = np.asarray(training.split.train)
        self.steps_an_epoch = len(cut(self.train, recipe.batch_size))
        self.steps = self.steps_an_epoch * recipe.epochs
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, [g["lr"] for g in groups], total_steps=max(self.steps, 2)
        )
        self.precision = Precision(recipe.mixed_precision, where.device)
        self.trained = where.prepare(self.network.head if self.frozen else self.network)
        self.weights = self._class_weights()
        self.best, self.epoch = BestEpoch(), 0
        self.history: list[Epoch] = []

    def _class_weights(self) -> torch.Tensor | None:
        """Returns float32 [classes], inversely proportional to the class frequency, with mean 1 over the training images."""
        if not self.recipe.class_weights:
            return None
        counts = np.bincount(self.training.labels[self.train], minlength=len(self.training.classes)).clip(1)
        weights = len(self.train) / (np.count_nonzero(counts) * counts)
        return torch.tensor(weights, dtype=torch.float32, device=self.where.device)

    def resume(self) -> None:
        """Restore the checkpoint, if there is one."""
        if (state := checkpoint.load(self.training.folder)) is None:
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.precision.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available() and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.best, self.epoch = BestEpoch(**state["best"]), state["epoch"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]

    def save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "best": asdict(self.best),
            "epoch": self.epoch,
            "history": [asdict(epoch) for epoch in self.history],
        }
        checkpoint.save(self.training.folder, state)

    def learn(self, inputs: np.ndarray) -> Iterator[Step]:
        """Train one epoch on ``inputs``: images or features, by index."""
        self._mode()
        began, done = time.perf_counter(), 0
        first = (self.epoch) * self.steps_an_epoch
        self.losses = []
        for k, (x, labels, count, counted) in enumerate(self._batches(inputs)):
            with self.precision.autocast():
                logits = self.trained(x.to(self.where.device))
            sample_losses = F.cross_entropy(logits.float(), labels.to(self.where.device), self.weights, reduction="none")
            part = sample_losses.sum() * (counted / count)  # this process's share of the batch's mean
            rate = self.optimizer.param_groups[0]["lr"]
            if self.precision.step(part * self.where.ranks, self.optimizer, self.parameters):
                self.schedule.step()
            loss = float(self.where.total(part.detach()))
            if not np.isfinite(loss) and not self.precision.scaler.is_enabled():
                raise JobFailed(f"The loss is no longer finite after {first + k + 1} steps. Try a lower learning rate.")
            self.losses.append((loss, count))
            done += count
            yield Step(
                step=first + k + 1,
                steps=self.steps,
                epoch=self.epoch + 1,
                loss=loss,
                learning_rate=rate,
                pictures_per_second=done / (time.perf_counter() - began),
            )
        self.epoch += 1

    def _mode(self) -> None:
        self.network.train(not self.frozen)
        if self.recipe.freeze_batch_norm:  # ImageNet's statistics are better than those of small batches
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _batches(self, inputs: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor, int, bool]]:
        """Yield inputs, labels, the size of the global batch, and whether this process's share counts."""
        labels, where = self.training.labels, self.where
        if self.frozen:
            shuffled = self.train[order(len(self.train), self.recipe.seed, self.epoch + 1)]
            for whole in cut(shuffled, self.recipe.batch_size):
                part = np.sort(whole[where.rank :: where.ranks] if len(whole) > where.rank else whole[:1])
                yield torch.from_numpy(inputs[part]), torch.from_numpy(labels[part]), len(whole), len(whole) > where.rank
            return
        batches = Batches(inputs, labels, self.train, self.recipe, self.epoch + 1, where.rank, where.ranks)
        for (x, y), size, counted in zip(batches, batches.sizes, batches.counted, strict=True):
            yield x, y, size, counted

    def validate(self, inputs: np.ndarray) -> tuple[float, float]:
        """Returns the mean loss and accuracy on the validation images, in float32."""
        part = np.asarray(self.training.split.val)
        classifier = TorchClassifier(self.network, self.where.device)
        if self.frozen:
            with torch.inference_mode():
                logits = self.network.head(torch.from_numpy(inputs[part]).to(self.where.device)).cpu().numpy()
        else:
            logits = np.concatenate([classifier.logits(inputs[part[i : i + 64]]) for i in range(0, len(part), 64)])
        labels = torch.from_numpy(self.training.labels[part])
        loss = float(F.cross_entropy(torch.from_numpy(logits), labels))
        return loss, float((logits.argmax(1) == labels.numpy()).mean())


def train(training: Training) -> Iterator[Event]:
    """See ``Framework.train``. Raises JobFailed if the loss is not finite or weights cannot be loaded."""
    yield Stage(words="Loading the backbone")
    loop = Loop(training, distribution(training.processes))
    if training.resume:
        loop.resume()
    yield Built(weights=loop.backbone_weights, history=tuple(loop.history))
    inputs = training.pixels
    if loop.frozen:
        for output in features(
            loop.network, loop.backbone_weights.sha256 or f"random{training.recipe.seed}", training, loop.where.device
        ):
            if isinstance(output, Stage):
                yield output
            else:
                inputs = output
    while loop.epoch < training.recipe.epochs and not loop.best.stops_early(loop.epoch, training.recipe.early_stop):
        began = time.perf_counter()
        yield from loop.learn(inputs)
        seconds = time.perf_counter() - began
        loss, accuracy = loop.where.agree(loop.validate(inputs))
        epoch = Epoch(
            epoch=loop.epoch,
            step=loop.epoch * loop.steps_an_epoch,
            train_loss=sum(loss * n for loss, n in loop.losses) / sum(n for _, n in loop.losses),
            validation_loss=loss,
            validation_accuracy=accuracy,
            seconds=seconds,
            pictures_per_second=len(loop.train) / seconds,
            best=loop.best.update(loop.epoch, accuracy, loss),
        )
        loop.history.append(epoch)
        if loop.where.main:
            if epoch.best:
                checkpoint.save_best(training.folder, loop.network)
            loop.save()
            training.tracker.log(_histograms(loop), epoch.step)
        yield epoch


def _histograms(loop: Loop) -> dict[str, object]:
    """Returns histograms of every weight matrix and of its gradient from the epoch's last batch."""
    from lib.train.trackers.values import Histogram

    histograms: dict[str, object] = {}
    for name, parameter in loop.network.named_parameters():
        if parameter.ndim > 1 and (not loop.frozen or name.startswith("head.")):
            histograms[f"weights/{name}"] = Histogram.of(parameter.detach())
            if parameter.grad is not None:
                histograms[f"gradients/{name}"] = Histogram.of(parameter.grad)
    return histograms
