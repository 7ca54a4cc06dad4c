"""Text as samples, by a tokenizer.json or a transformers folder; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lib.errors import InvalidFile
from lib.model_inputs import samples, text_files
from lib.model_inputs.signature import Signature, Value

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "mat", "ä"]
IDS = Value("input_ids", "int64", ("batch", "seq"), "tokens", len(WORDS))
BERT = Signature(
    (
        IDS,
        Value("attention_mask", "int64", ("batch", "seq"), "mask"),
        Value("token_type_ids", "int32", ("batch", "seq")),
        Value("position_ids", "int64", ("batch", "seq"), "positions"),
    )
)
FIXED = Signature((Value("ids", "int32", (1, 6)), Value("mask", "float32", (1, 6)), Value("temperature", "float32", (1,))))
FLAT = Signature((Value("tokens", "int64", ("n",)),))
TEXT = "the cat sat\n\n  cat on the mat ä zzz\r\nthe\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tokenizer")
    made = Tokenizer(models.WordLevel({w: k for k, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.enable_padding(length=32)  # files often ask for it; here rows keep their own length
    made.enable_truncation(4)
    made.save(str(home / "tokenizer.json"))
    return home


def read(tmp_path: Path, text: str | bytes, signature: Signature, tokenizer: Path | None, **more: object) -> samples.Samples:
    (tmp_path / "given.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return samples.read(tmp_path / "given.txt", "given.txt", signature, tokenizer=tokenizer, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("whole", [True, False])
def test_every_line_is_a_sample(tmp_path: Path, folder: Path, whole: bool) -> None:
    found = read(tmp_path, TEXT, BERT, folder if whole else folder / "tokenizer.json")
    assert found.kind == "text" and len(found.rows) == 3
    assert found.rows[0]["input_ids"].tolist() == [[2, 4, 5, 6, 3]]
    assert found.rows[1]["input_ids"].tolist() == [[2, 5, 7, 4, 8, 9, 1, 3]]
    assert found.rows[0]["position_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert (found.rows[0]["attention_mask"] == 1).all() and not found.rows[0]["token_type_ids"].any()
    assert all(str(r[v.name].dtype) == v.dtype for r in found.rows for v in BERT.inputs)
    assert found.messages == ["3 lines of text, 3 to 8 tokens each."]


def test_padding_to_a_given_length(tmp_path: Path, folder: Path) -> None:
    found = read(tmp_path, TEXT, BERT, folder, sizes={"seq": 6})
    assert found.rows[0]["input_ids"].tolist() == [[2, 4, 5, 6, 3, 0]]
    assert found.rows[0]["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0]]
    assert {r["input_ids"].shape for r in found.rows} == {(1, 6)}
    assert found.messages == ["3 lines of text, padded to 6 tokens.", "1 lines were cut after 6 tokens."]


def test_padding_to_the_models_length(tmp_path: Path, folder: Path) -> None:
    row = read(tmp_path, TEXT, FIXED, folder).rows[2]
    assert row["ids"].tolist() == [[2, 4, 3, 0, 0, 0]] and row["ids"].dtype == np.int32
    assert row["mask"].tolist() == [[1, 1, 1, 0, 0, 0]] and row["mask"].dtype == np.float32
    assert row["temperature"].shape == (1,)


def test_ids_of_one_dimension(tmp_path: Path, folder: Path) -> None:
    assert read(tmp_path, "the cat", FLAT, folder).rows[0]["tokens"].tolist() == [2, 4, 5, 3]


@pytest.mark.parametrize("data", [TEXT.encode("utf-16"), b"\xef\xbb\xbf" + TEXT.encode()])
def test_marks_of_encodings(tmp_path: Path, folder: Path, data: bytes) -> None:
    assert read(tmp_path, data, BERT, folder).rows[1]["input_ids"].tolist() == [[2, 5, 7, 4, 8, 9, 1, 3]]


def test_a_transformers_folder_without_tokenizer_json(tmp_path: Path) -> None:
    home = tmp_path / "model"
    home.mkdir()
    (home / "vocab.txt").write_text("\n".join(WORDS))
    (home / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": len(WORDS)}))
    (home / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
    found = read(tmp_path, "The CAT", BERT, home, sizes={"seq": 5})
    assert found.rows[0]["input_ids"].tolist() == [[2, 4, 5, 3, 0]]


BAD = {
    "Latin-1": ("the\ncät".encode("latin-1"), BERT, r"not UTF-8 \(line 2\)"),
    "half a UTF-16": (b"\xff\xfea", BERT, "not UTF-8|Save it as UTF-8"),
    "blank lines": ("\n \n\t\n", BERT, "only blank lines"),
    "too many lines": ("the\n" * 5000, BERT, "5,000 lines; at most 4,096"),
    "zero bytes": (b"the" * 40 + b"\0", BERT, "zero bytes"),
    "no ids": ("the", Signature((Value("x", "float32", ("n", 8)),)), r"no input of this model takes token ids"),
    "another vocabulary": (
        "the ä",
        Signature((Value("input_ids", "int64", ("b", "s"), "tokens", 6),)),
        "ids up to 9, but the model has 6",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, folder: Path, case: str) -> None:
    data, signature, said = BAD[case]
    with pytest.raises(InvalidFile, match=said):
        read(tmp_path, data, signature, folder)


def test_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"needs the model's tokenizer.*Send the whole folder.*an \.npz with token ids"):
        read(tmp_path, TEXT, BERT, None)


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}', None])
def test_a_damaged_tokenizer(tmp_path: Path, content: str | None) -> None:
    home = tmp_path / "model"
    home.mkdir()
    if content is not None:
        (home / "tokenizer.json").write_text(content)
    with pytest.raises(InvalidFile, match="tokenizer cannot be read") as caught:
        read(tmp_path, TEXT, BERT, home)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], None),
        (["vocab.json"], None),
        (["vocab.txt"], ""),
        (["vocab.json", "merges.txt"], ""),
        (["tokenizer/tokenizer.json"], "tokenizer/tokenizer.json"),
        (["tokenizer.json", "vocab.txt"], "tokenizer.json"),
    ],
)
def test_where_a_source_has_its_tokenizer(tmp_path: Path, names: list[str], found: str | None) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert text_files.tokenizer_in(tmp_path) == (None if found is None else tmp_path / found)
