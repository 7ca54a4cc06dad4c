"""Silero's voice activity detector on half a minute of a meeting, with who speaks when."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from tests.convert.trained import wheels
from tests.convert.trained.subject import ONNX, Subject, write

RATE, CHUNK, CONTEXT = 16000, 512, 64
BLOCK = 32  # chunks, a second: blocks go to the user's samples and to the check in turns


def _recording() -> tuple[np.ndarray, np.ndarray]:
    """Chunks with the context before them, float32 [n, 576], and whether anyone speaks in the middle of each."""
    with wave.open(io.BytesIO(wheels.read("pyannote.audio", "pyannote/audio/sample/sample.wav"))) as file:
        assert file.getframerate() == RATE and file.getnchannels() == 1 and file.getsampwidth() == 2
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    said = wheels.read("pyannote.audio", "pyannote/audio/sample/sample.rttm").decode().splitlines()
    turns = [(float(line.split()[3]), float(line.split()[4])) for line in said]
    count = len(sound) // CHUNK
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    chunks = np.stack([padded[k * CHUNK : k * CHUNK + CONTEXT + CHUNK] for k in range(count)])
    middle = (np.arange(count) + 0.5) * CHUNK / RATE
    spoken = np.array([any(start <= t < start + long for start, long in turns) for t in middle])
    return chunks, spoken


def _subject(folder: Path, name: str, file: str, extra: dict[str, np.ndarray]) -> Subject:
    """``extra``: inputs beside the sound and the state. The state goes from chunk to chunk, as in use."""
    import importlib.resources

    import onnxruntime

    path = folder / f"{name}.onnx"
    path.write_bytes((importlib.resources.files("silero_vad") / "data" / file).read_bytes())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    chunks, spoken = _recording()
    state = np.zeros((2, 1, 128), np.float32)
    states, made = [], []
    for chunk in chunks:
        states.append(state)
        probability, state = session.run(None, {"input": chunk[None], "state": state} | extra)
        made.append((probability, state))
    given = (np.arange(len(chunks)) // BLOCK) % 2 == 0
    rows = {"input": chunks[:, None], "state": np.stack(states)}
    rows |= {n: np.repeat(v[None], len(chunks), 0) for n, v in extra.items()}
    samples = {n: v[given][::4] for n, v in rows.items()}
    samples["input"] = samples["input"][:, 0]
    held = {n: v[~given] for n, v in rows.items()} | {"labels": spoken[~given]}
    write(folder, samples, held, [np.stack(v)[~given] for v in zip(*made, strict=True)])
    return Subject(
        name=name,
        kind="voice activity",
        inputs="half a minute of a meeting, in pyannote.audio",
        measure="speech",
        files=(path.name,),
        targets=(*ONNX, "openvino", "pt2"),
        folder=folder,
    )


def silero(folder: Path) -> Subject:
    return _subject(folder, "silero-vad-16k", "silero_vad_openvino_16k.onnx", {})


def silero_branches(folder: Path) -> Subject:
    """Both rates in one file, each in a branch of an If."""
    return _subject(folder, "silero-vad", "silero_vad.onnx", {"sr": np.array(RATE, np.int64)})
