"""The Keras training loop: a Keras model, optimizer and callbacks, driven step by step.

``Model.fit`` does not yield between steps, and epochs must be repeatable and end with a checkpoint. So the loop is
written out, as in Keras's guide "Writing a training loop from scratch in PyTorch", and calls the callbacks like ``fit``.
Batches and schedule are those of the PyTorch loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace

import keras
import numpy as np
import torch
from torch.nn import functional as F

from lib.errors import InvalidValue, JobFailed
from lib.train.best_epoch import BestEpoch
from lib.train.events import Built, Epoch, Event, Stage, Step
from lib.train.keras_training import checkpoint
from lib.train.keras_training.callback import TensorBoard
from lib.train.keras_training.classifier import KerasClassifier
from lib.train.keras_training.features import features
from lib.train.keras_training.network import build_network
from lib.train.keras_training.optimizer import DiscriminativeAdamW, one_cycle
from lib.train.torch_training.batches import Batches, cut, order
from lib.train.training import Training


class Loop:
    """The state of one training. ``exact`` returns a float32 classifier: the network, or its twin under mixed precision."""

    def __init__(self, training: Training) -> None:
        recipe, classes = training.recipe, len(training.classes)
        if training.processes > 1:
            raise InvalidValue("processes", training.processes, "1 with framework keras")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # avoids an extra write of every new tensor
        self.training, self.recipe = training, recipe
        trained = recipe.weights == "pretrained"
        self.network, self.backbone_weights = build_network(recipe, classes, trained, training.backbones)
        self.twin = None
        if recipe.mixed_precision != "no":
            self.twin, _ = build_network(replace(recipe, mixed_precision="no"), classes, False, training.backbones)
        self.frozen = recipe.technique == "feature_extraction"
        self.network.backbone.trainable = not self.frozen
        head = self.network.head.trainable_variables
        self.rate = recipe.head_learning_rate if self.frozen else recipe.learning_rate
        factor = recipe.head_learning_rate / self.rate
        self.optimizer = DiscriminativeAdamW(head, factor, learning_rate=self.rate, weight_decay=recipe.weight_decay)
        self.variables = self.network.model.trainable_variables
        self.optimizer.build(self.variables)
        self.network.model.compile(optimizer=self.optimizer, loss="sparse_categorical_crossentropy")  # for the callbacks
        self.train = np.asarray(training.split.train)
        self.steps_an_epoch = len(cut(self.train, recipe.batch_size))
        self.steps = self.steps_an_epoch * recipe.epochs
        self.weights = self._class_weights()
        self.best, self.epoch = BestEpoch(), 0
        self.history: list[Epoch] = []
        board = TensorBoard(training.folder, histogram_freq=1, write_steps_per_second=True)
        self.callbacks = keras.callbacks.CallbackList([board], model=self.network.model, epochs=recipe.epochs)

    def _class_weights(self) -> torch.Tensor | None:
        """Returns float32 [classes], inversely proportional to the class frequency, with mean 1 over the training images."""
        if not self.recipe.class_weights:
            return None
        counts = np.bincount(self.training.labels[self.train], minlength=len(self.training.classes)).clip(1)
        return keras.ops.convert_to_tensor(len(self.train) / (np.count_nonzero(counts) * counts), dtype="float32")

    def exact(self) -> KerasClassifier:
        if self.twin is None:
            return KerasClassifier(self.network)
        self.twin.copy_from(self.network)
        return KerasClassifier(self.twin)

    def resume(self) -> None:
        """Restore the checkpoint, if there is one."""
        state = checkpoint.load(self.training.folder, self.network.model, self.optimizer)
        if state is not None:
            self.best, self.epoch = BestEpoch(**state["best"]), state["epoch"]
            self.history = [Epoch(**epoch) for epoch in state["history"]]

    def save(self) -> None:
        history = [asdict(epoch) for epoch in self.history]
        state = {"epoch": self.epoch, "best": asdict(self.best), "history": history}
        checkpoint.save(self.training.folder, self.network.model, self.optimizer, state)

    def learn(self, inputs: np.ndarray) -> Iterator[Step]:
        """Train one epoch on ``inputs``: images or features, by index. Sets ``logs`` to the means over its images."""
        began, done, right, total = time.perf_counter(), 0, 0, 0.0
        for k, (x, labels) in enumerate(self._batches(inputs)):
            self.callbacks.on_train_batch_begin(k)
            step = self.epoch * self.steps_an_epoch + k
            share, self.optimizer.beta_1 = one_cycle(step, max(self.steps, 2))
            self.optimizer.learning_rate = self.rate * share
            loss, correct = self._step(x, labels)
            if not np.isfinite(loss):
                raise JobFailed(f"The loss is no longer finite after {step + 1} steps. Try a lower learning rate.")
            done, right, total = done + len(labels), right + correct, total + loss * len(labels)
            self.logs = {"loss": total / done, "accuracy": right / done}
            self.callbacks.on_train_batch_end(k, self.logs)
            speed = done / (time.perf_counter() - began)
            yield Step(
                step=step + 1,
                steps=self.steps,
                epoch=self.epoch + 1,
                loss=loss,
                learning_rate=self.rate * share,
                pictures_per_second=speed,
            )

    def _step(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
        """Run one optimizer step; returns the batch's mean loss and the number of correct predictions."""
        x, labels = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(labels)
        # ImageNet's batch-norm statistics are better than those of small batches
        update_statistics = not self.recipe.freeze_batch_norm
        logits = self.network.head(x) if self.frozen else self.network.model(x, training=update_statistics)
        loss = F.cross_entropy(logits, labels, self.weights, reduction="none").mean()
        for variable in self.variables:
            variable.value.grad = None
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([variable.value.grad for variable in self.variables], self.variables)
        return float(loss.detach()), int((logits.argmax(1) == labels).sum())

    def _batches(self, inputs: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images uint8 [b, size, size, 3] or features float32 [b, d], and labels int64 [b]."""
        labels, recipe = self.training.labels, self.recipe
        if self.frozen:
            shuffled = self.train[order(len(self.train), recipe.seed, self.epoch + 1)]
            for whole in cut(shuffled, recipe.batch_size):
                part = np.sort(whole)
                yield torch.from_numpy(inputs[part]), torch.from_numpy(labels[part])
            return
        for x, y in Batches(inputs, labels, self.train, recipe, self.epoch + 1):
            yield x.permute(0, 2, 3, 1), y

    def validate(self, inputs: np.ndarray) -> tuple[float, float]:
        """Returns the mean loss and accuracy on the validation images, in float32."""
        part = np.asarray(self.training.split.val)
        self.callbacks.on_test_begin()
        if self.frozen:
            with torch.no_grad():
                logits = self.network.head(keras.ops.convert_to_tensor(np.array(inputs[part]))).cpu()
        else:
            classifier = self.exact()
            logits = np.concatenate([classifier.logits(inputs[part[i : i + 64]]) for i in range(0, len(part), 64)])
            logits = torch.from_numpy(logits)
        labels = torch.from_numpy(self.training.labels[part])
        loss, accuracy = float(F.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).numpy().mean())
        self.callbacks.on_test_end({"loss": loss, "accuracy": accuracy})
        return loss, accuracy


def train(training: Training) -> Iterator[Event]:
    """See ``Framework.train``."""
    yield Stage(words="Loading the backbone")
    loop = Loop(training)
    if training.resume:
        loop.resume()
    yield Built(weights=loop.backbone_weights, history=tuple(loop.history))
    inputs = training.pixels
    if loop.frozen:
        for output in features(loop.exact(), loop.backbone_weights.sha256 or f"random{training.recipe.seed}", training):
            if isinstance(output, Stage):
                yield output
            else:
                inputs = output
    if loop.epoch >= training.recipe.epochs or loop.best.stops_early(loop.epoch, training.recipe.early_stop):
        return
    loop.callbacks.on_train_begin()
    try:
        while loop.epoch < training.recipe.epochs and not loop.best.stops_early(loop.epoch, training.recipe.early_stop):
            yield from _epoch(loop, inputs)
    finally:
        loop.callbacks.on_train_end()


def _epoch(loop: Loop, inputs: np.ndarray) -> Iterator[Event]:
    began = time.perf_counter()
    loop.callbacks.on_epoch_begin(loop.epoch)
    yield from loop.learn(inputs)
    seconds = time.perf_counter() - began
    loss, accuracy = loop.validate(inputs)
    loop.callbacks.on_epoch_end(loop.epoch, loop.logs | {"val_loss": loss, "val_accuracy": accuracy})
    loop.epoch += 1
    epoch = Epoch(
        epoch=loop.epoch,
        step=loop.epoch * loop.steps_an_epoch,
        train_loss=loop.logs["loss"],
        validation_loss=loss,
        validation_accuracy=accuracy,
        seconds=seconds,
        pictures_per_second=len(loop.train) / seconds,
        best=loop.best.update(loop.epoch, accuracy, loss),
    )
    loop.history.append(epoch)
    if epoch.best:
        checkpoint.save_best(loop.training.folder, loop.network.model)
    loop.save()
    yield epoch
