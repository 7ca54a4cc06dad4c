"""A CLIP tokenizer with the model's own small vocabulary.

Byte-pair merges are learned from the words of the captions, so each of these is one token. Other text is split into
smaller tokens, down to bytes.
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
    """Loads the tokenizer of the shipped weights (id 0 is the start token, 1 the end and padding token)."""
    return CLIPTokenizer.from_pretrained(VOCABULARY)


def learn_tokenizer() -> CLIPTokenizer:
    """Trains a new tokenizer on the words of the captions, for ``VOCABULARY`` when the words change.

    Its ids vary from run to run if merges are equally frequent: never use it with weights trained with another one.
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
