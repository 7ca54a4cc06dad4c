"""A CLIP tokenizer over the model's own small vocabulary.

Byte-pair merges are learnt from the captions' words, so every such word is one token, and any
other text still has tokens (its bytes).
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from models.tiny_scenes.scenes import vocabulary

MAX_TOKENS = 32
VOCABULARY = Path(__file__).parent / "vocabulary"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """The one that the shipped weights know (0 is the start, 1 the end and padding)."""
    return CLIPTokenizer.from_pretrained(VOCABULARY)


def learn_tokenizer() -> CLIPTokenizer:
    """A new one from the captions' words, for ``VOCABULARY`` when the words change.

    Its ids differ from run to run where merges are equally frequent: never mix it with weights
    that were trained with another.
    """
    words = vocabulary()
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(words * 2, trainer)
    learnt = json.loads(learner.to_str())["model"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [BOS, EOS, *alphabet, *(a + "</w>" for a in alphabet)]
    tokens += [t for t in learnt["vocab"] if t not in set(tokens)]
    return CLIPTokenizer(
        vocab={t: i for i, t in enumerate(tokens)},
        merges=[tuple(m) for m in learnt["merges"]],
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        unk_token=EOS,
        model_max_length=MAX_TOKENS,
    )
