"""Sources by name: what is refused, what random weights are like, uploads of weights, ties, the runner."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.convert.formats.pytorch import architectures, calibrate
from lib.convert.formats.pytorch import torchvision_models as torchvision
from lib.convert.formats.pytorch import transformers_models as transformers
from lib.convert.formats.pytorch.runner import ArchitectureRunner
from lib.convert.proof import cases as proof_cases
from lib.errors import InvalidFile, InvalidValue

GPT2 = transformers.EXAMPLES["GPT-2, tiny"]
T5 = transformers.EXAMPLES["T5, tiny"]


def made(folder: Path, source: str, config: dict[str, Any] | None = None, weights: Path | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    file = None
    if config is not None:
        file = folder.with_suffix(".json")
        file.write_text(json.dumps(config))
    architectures.prepare(source, weights, file, folder)
    return folder


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("resnet18", "torchvision:…"),
        ("timm:resnet18", "torchvision:…"),
        ("torchvision:resnet19", "resnet18"),
        ("torchvision:/etc/passwd", "such as"),
        ("torchvision:../models/resnet18", "such as"),
        ("torchvision:resnet18;import os", "such as"),
        ("torchvision:quantized_resnet18", "such as"),
        ("torchvision:", "such as"),
        ("transformers:", "config.json"),
        ("transformers:/etc/passwd", "the JSON text"),
        ("transformers:bert-base-uncased", "the JSON text"),
        ("transformers:{", "JSON"),
        ('transformers:{"model_type": "../bert"}', "transformers types"),
        ('transformers:{"model_type": "berd"}', "bert"),
        ('transformers:{"model_type": "timm_wrapper"}', "transformers types"),
        ('transformers:{"model_type": "bert", "architectures": ["Trainer"]}', "BertModel"),
        ('transformers:{"model_type": "bert", "architectures": ["GPT2Model"]}', "BertModel"),
        ('transformers:{"model_type": "bert", "num_hidden_layers": 100000}', "at most 512"),
        ('transformers:{"model_type": "bert", "vocab_size": 99999999999}', "at most"),
        ('transformers:{"model_type": "bert", "hidden_size": 16384, "num_attention_heads": 4}', "million"),
        ('transformers:{"model_type": "detr", "backbone": "resnet50", "use_timm_backbone": true}', "downloaded"),
        ("hub:../x", "owner/name"),
        ("hub:/etc/x", "owner/name"),
        ("hub:owner/name", "has not allowed"),
    ],
)
def test_what_is_refused(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        architectures.prepare(source, None, None, tmp_path)
    assert said in caught.value.message
    assert not list(tmp_path.iterdir())


SMALL = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "llama", "vocab_size": 100, "num_key_value_heads": 3, **SMALL}, "tensor a"),
        ({"model_type": "vit", "image_size": 4, "patch_size": 8, **SMALL}, "Kernel size"),
        ({"model_type": "bert", "vocab_size": 100, "type_vocab_size": 0, **SMALL}, "index"),
        ({"model_type": "bert", "vocab_size": 100, "pad_token_id": 500, **SMALL}, "Padding_idx"),
        ({"model_type": "dac"}, "transformers:dac"),
        ({"model_type": "bert", "architectures": 5}, "BertModel"),
        ({"model_type": "bert", "architectures": "BertModel"}, "BertModel"),
        ({"model_type": "bert", "architectures": {"BertModel": 1}}, "BertModel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_do_not_run_are_refused_in_the_models_words(config: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        made(tmp_path / "a", "transformers:", config)
    assert said in caught.value.message


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", "transformers:", GPT2)
    with pytest.raises(InvalidFile) as caught:
        made(tmp_path / "b", "transformers:", GPT2 | {"vocab_size": 1100}, weights=folder / "weights.safetensors")
    assert "transformers:gpt2" in caught.value.message and "of another shape" in caught.value.message
    assert "transformer.wte.weight is [1000, 64], not [1100, 64]" in caught.value.message


def test_a_config_cannot_bring_code(tmp_path: Path) -> None:
    """auto_map and friends are dropped: the class is transformers' own, and no file or hub is asked."""
    evil = tmp_path / "evil.py"
    evil.write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    config = GPT2 | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "_name_or_path": str(tmp_path)}
    config |= {"attn_implementation": "someone/kernel", "trust_remote_code": True, "quantization_config": {"x": 1}}
    folder = made(tmp_path / "a", "transformers:", config)
    kept = json.loads((folder / "architecture.json").read_text())["config"]
    assert kept == GPT2 and not (tmp_path / "ran").exists()


def test_the_names_are_torchvisions() -> None:
    from torchvision.models import get_model_builder, list_models

    theirs = {n for n in list_models() if not any(w in get_model_builder(n).__module__ for w in ("quant", "video", "flow"))}
    assert {n for some in torchvision.NAMES.values() for n in some} == theirs
    for task in ("segmentation", "detection"):
        assert all(task in get_model_builder(n).__module__ for n in torchvision.NAMES[task])
    assert len(architectures.names()["transformers"]) == len(transformers.EXAMPLES)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1"])
def test_random_weights_move_the_outputs(name: str, tmp_path: Path) -> None:
    flat, signature = architectures.load(made(tmp_path / "a", f"torchvision:{name}", {"image_size": 64}))
    calibrated = calibrate.least_movement(flat, signature)
    assert calibrated > calibrate.MIN_VARIATION
    if name == "squeezenet1_1":  # as torchvision initialises it, its pooled scores look alike for every picture
        torch.manual_seed(0)
        flat.model = torchvision.build(name, {"image_size": 64})[0]
        assert calibrate.least_movement(flat, signature) < calibrated


def test_a_layer_scale_does_not_hide_its_block(tmp_path: Path) -> None:
    flat, _ = architectures.load(made(tmp_path / "a", "torchvision:convnext_tiny", {"image_size": 64}))
    scales = [p for n, p in flat.model.named_parameters() if "layer_scale" in n]
    assert scales and all(p.abs().min() > 0.4 for p in scales)


def test_the_seed_makes_the_weights(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    config.write_text(json.dumps(GPT2))
    states = []
    for k, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(k)
        folder.mkdir()
        said = architectures.prepare("transformers:", None, config, folder, seed=seed)
        assert f"random weights (seed {seed})" in said[0]
        states.append(load_file(folder / "weights.safetensors")["transformer.wte.weight"])
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", "transformers:", GPT2)
    tied = json.loads((folder / "architecture.json").read_text())["tied"]
    assert tied == {"lm_head.weight": "transformer.wte.weight"}
    model = architectures.load(folder)[0].model
    assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()


def test_the_runner_names_what_a_model_returns(tmp_path: Path) -> None:
    runner = ArchitectureRunner(made(tmp_path / "a", "transformers:", T5))
    signature = runner.signature()
    assert [v.name for v in signature.inputs] == ["input_ids", "attention_mask", "decoder_input_ids"]
    assert {v.name: v.shape for v in signature.outputs} == {
        "logits": ("batch", "decoder_sequence", 1000),
        "encoder_last_hidden_state": ("batch", "sequence", 64),
    }
    for case in proof_cases.cases(signature):
        outputs = runner.run(case.arrays)
        for value in signature.outputs:
            assert outputs[value.name].dtype.name == value.dtype
            assert outputs[value.name].shape == tuple(case.sizes.get(d, d) for d in value.shape)
    again = runner.run(case.arrays)
    assert all(np.array_equal(outputs[n], again[n]) for n in outputs), "dropout must be off"


def test_detections_come_one_row_each(tmp_path: Path) -> None:
    runner = ArchitectureRunner(made(tmp_path / "a", "torchvision:ssdlite320_mobilenet_v3_large"))
    signature = runner.signature()
    assert signature.inputs[0].shape == (1, 3, 320, 320)
    assert {v.name: v.shape for v in signature.outputs} == {
        "boxes": ("detections", 4),
        "labels": ("detections",),
        "scores": ("detections",),
    }
    outputs = runner.run(proof_cases.cases(signature)[0].arrays)
    assert 1 <= len(outputs["boxes"]) == len(outputs["labels"]) == len(outputs["scores"])


def test_uploaded_weights_are_used(tmp_path: Path) -> None:
    """A checkpoint with its own number of classes, wrapped as trainers do."""
    from torchvision.models import resnet18

    torch.manual_seed(3)
    model = resnet18(num_classes=7).eval()
    file = tmp_path / "best.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, file)
    folder = tmp_path / "a"
    folder.mkdir()
    said = architectures.prepare("torchvision:resnet18", file, None, folder)
    assert "the given weights" in said[-1] and any("'module.'" in s for s in said)
    runner = ArchitectureRunner(folder)
    image = proof_cases.cases(runner.signature())[0].arrays["image"]
    with torch.inference_mode():
        expected = model(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(runner.run({"image": image})["logits"], expected, rtol=1e-4, atol=1e-5)


def test_a_hub_folder_is_read_without_the_hub(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(**{k: v for k, v in GPT2.items() if k != "architectures"})).eval()
    model.save_pretrained(tmp_path / "hub")
    (tmp_path / "hub" / "modeling_evil.py").write_text("raise SystemExit")
    folder = tmp_path / "a"
    folder.mkdir()
    architectures.from_folder(tmp_path / "hub", folder, "hub:owner/name")
    runner = ArchitectureRunner(folder)
    given = proof_cases.cases(runner.signature())[0].arrays
    with torch.inference_mode():
        expected = model(**{k: torch.from_numpy(v) for k, v in given.items()}).logits.numpy()
    np.testing.assert_allclose(runner.run(given)["logits"], expected, rtol=1e-4, atol=1e-5)


def test_of_several_files_those_of_the_index_are_read(tmp_path: Path) -> None:
    from lib.convert.formats.pytorch import hub_models as hub

    one, two, other = ({"a": torch.zeros(2)}, {"b": torch.ones(2)}, {"a": torch.full((2,), 9.0)})
    for name, tensors in (("model-1", one), ("model-2", two), ("consolidated", other)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidFile, match=r"has no model\.safetensors"):
        hub.state(tmp_path)

    def state(**placed: Any) -> dict[str, Any]:
        (tmp_path / hub.INDEX).write_text(json.dumps({"weight_map": placed}))
        return hub.state(tmp_path)

    found = state(a="model-1.safetensors", b="model-2.safetensors")
    assert {name: value.tolist() for name, value in found.items()} == {"a": [0, 0], "b": [1, 1]}
    for placed, said in (
        ({"a": "../model-1.safetensors"}, "does not map"),
        ({"a": ["model-1.safetensors"]}, "does not map"),
        ({"a": "model-1.safetensors", "b": "model-1.safetensors"}, "'b' to a file"),
        ({"a": "model-1.safetensors", "b": "consolidated.safetensors"}, "in two files"),
        ({"a": "model-3.safetensors"}, "has no model-3"),
        ({}, "does not map"),
    ):
        with pytest.raises(InvalidFile, match=said):
            state(**placed)
    (tmp_path / hub.INDEX).unlink()
    save_file({"c": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert set(hub.state(tmp_path)) == {"c"}


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2), "conv1.weight": torch.zeros(1, 2)}, file)
    with pytest.raises(InvalidFile) as caught:
        made(tmp_path / "a", "torchvision:resnet18", weights=file)
    assert "missing: bn1.weight" in caught.value.message and "1 not expected: a" in caught.value.message
    with pytest.raises(InvalidFile) as caught:
        made(tmp_path / "b", "transformers:", GPT2, weights=file)
    assert "missing" in caught.value.message and "not expected" in caught.value.message


@pytest.mark.parametrize("what", ["pickle", "torch", "noise", "zip", "nested"])
def test_hostile_weights(what: str, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    file = tmp_path / "w"
    if what == "pickle":
        file.write_bytes(pickle.dumps(Bomb()))
    elif what == "torch":
        torch.save({"a": torch.zeros(1), "b": Bomb()}, file)
    elif what == "nested":
        torch.save({"optimizer": {"a": torch.zeros(1)}, "epoch": 3}, file)
    else:
        file.write_bytes(b"PK\x03\x04" + bytes(90) if what == "zip" else bytes(range(90)))
    with pytest.raises(InvalidFile) as caught:
        made(tmp_path / "a", "torchvision:resnet18", weights=file)
    assert "state_dict" in caught.value.message and str(tmp_path) not in caught.value.message
    assert not (tmp_path / "ran").exists()
