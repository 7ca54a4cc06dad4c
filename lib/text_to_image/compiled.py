"""The UNet as an OpenVINO program, for calls of a request that is alone on a CPU. PyTorch computes all others.

A program is made once for each model and version of OpenVINO, in a child process of low priority, and kept in the data
folder. Until it is there, and wherever it does not agree with PyTorch, PyTorch goes on. Figures: docs/text_to_image.md.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.settings import Settings
from lib.text_to_image.threads import SMALL

if TYPE_CHECKING:
    import torch

    from lib.text_to_image.families import Conditioning

ROOT = Path(__file__).parent.parent.parent
ROWS = 2  # of one guided request
MOST_PARAMETERS = 400e6  # tracing takes three times their memory
AGREES = 1e-4  # of the largest value of PyTorch's output; OpenVINO 2026.4 differs by 1e-6
NICE = 10
TRIES = (1.0, 5.0, 30.0, 0.0)  # seconds after each


class CompiledUNet:
    """Used by the engine's thread only. ``ready`` once a program is there and agrees."""

    def __init__(self, network: Any, folder: Path, program: Path) -> None:
        """``folder`` holds the UNet's config and safetensors; ``program`` is the ``.xml`` that is read, or made first."""
        self._network, self._folder, self._program = network, folder, program
        self._multiple = 2 ** (len(network.config.block_out_channels) - 1)
        self._request: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.thread = threading.Thread(target=self._prepare, daemon=True, name="compile the UNet")

    @classmethod
    def begin(cls, network: Any, folder: Path, revision: str, settings: Settings) -> CompiledUNet | None:
        """In the background; None for what is not compiled. ``folder`` is the pipeline's."""
        import torch

        plain = getattr(network.config, "addition_embed_type", None) is None and network.config.time_cond_proj_dim is None
        cpu = network.device.type == "cpu" and network.dtype == torch.float32
        small = sum(p.numel() for p in network.parameters()) <= MOST_PARAMETERS
        wanted = settings.compile_unet and not settings.reproducible
        if not (wanted and plain and cpu and small and importlib.util.find_spec("openvino")):
            return None
        name = f"{revision[:16]}-{importlib.metadata.version('openvino')}.xml"
        found = cls(network, folder / "unet", settings.data_folder / "compiled" / name)
        found.thread.start()
        return found

    @property
    def ready(self) -> bool:
        return self._request is not None

    def takes(self, noisy: torch.Tensor, conditions: Sequence[Conditioning]) -> bool:
        """Whether a call with these rows is computed by the program: other sizes take other ways through the UNet."""
        even = noisy.shape[2] % self._multiple == noisy.shape[3] % self._multiple == 0
        return self.ready and len(noisy) <= ROWS and even and len({len(c.hidden) for c in conditions}) == 1

    def __call__(self, noisy: torch.Tensor, times: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """As the UNet: [n, C, h, w], [n] and [n, tokens, width], float32, to [n, C, h, w]."""
        import torch

        out = self._request.infer({0: noisy.numpy(), 1: times.numpy(), 2: hidden.numpy()})[0]
        return torch.from_numpy(out.copy())

    def close(self) -> None:
        """Ends the process that makes the program, where one runs."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _prepare(self) -> None:
        log = logging.getLogger(__name__)
        try:
            if (self._program.is_file() or self._make()) and not self._closed:
                request = self._opened()
                if self._agrees_in_time(request):
                    self._request = request
                elif not self._closed:
                    log.warning("OpenVINO's UNet differs from PyTorch's, so it is not used.")
        except Exception as error:  # OpenVINO's own; pictures are made without it
            log.warning("The UNet could not be compiled (%s); PyTorch goes on.", type(error).__name__)

    def _make(self) -> bool:
        """In another process: tracing would hold up the pictures of this one. A name of its own until it is whole."""
        self._program.parent.mkdir(parents=True, exist_ok=True)
        own = self._program.with_name(f"{os.getpid()}-{self._program.name}")
        words = [sys.executable, "-m", "lib.text_to_image.compiled", str(self._folder), str(own)]
        if self._closed:
            return False
        self._process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if self._process.wait() != 0:
                return False
            own.with_suffix(".bin").replace(self._program.with_suffix(".bin"))
            own.replace(self._program)
        finally:
            for left in (own, own.with_suffix(".bin")):
                left.unlink(missing_ok=True)
        return True

    def _opened(self) -> Any:
        """With the weights in memory, so that whoever makes the file anew changes nothing here."""
        import openvino

        core, config = openvino.Core(), self._network.config
        model = core.read_model(self._program.read_bytes(), self._program.with_suffix(".bin").read_bytes())
        size = sum(p.numel() for p in self._network.parameters()) * ROWS * config.sample_size**2
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if size <= SMALL:  # as with PyTorch (threads.py)
            options["INFERENCE_NUM_THREADS"] = 1
        return core.compile_model(model, "CPU", options).create_infer_request()

    def _agrees_in_time(self, request: Any) -> bool:
        """Tries again: while the engine's thread draws with a LoRA, PyTorch's own output is another (``lora_rows.py``)."""
        for pause in TRIES:
            try:
                if self._closed or self._agrees(request):
                    return not self._closed
            except Exception:  # of a hook that has other rows
                logging.getLogger(__name__).debug("the UNet was busy", exc_info=True)
            time.sleep(pause)
        return False

    def _agrees(self, request: Any) -> bool:
        """On random inputs of one and of two rows."""
        import torch

        config, generator = self._network.config, torch.Generator().manual_seed(0)
        for rows in (1, ROWS):
            given = example(config, rows, generator)
            with torch.inference_mode():
                expected = self._network(given[0], given[1], encoder_hidden_states=given[2], return_dict=False)[0]
            found = torch.from_numpy(request.infer(dict(enumerate(one.numpy() for one in given)))[0])
            if not bool((found - expected).abs().max() <= AGREES * expected.abs().max()):
                return False
        return True


def example(config: Any, rows: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs of the size that the UNet was trained at."""
    import torch

    size = config.sample_size
    noisy = torch.randn(rows, config.in_channels, size, size, generator=generator)
    return noisy, torch.full((rows,), 500.0), torch.randn(rows, 77, config.cross_attention_dim, generator=generator)


def main(folder: str, out: str) -> None:
    """Traces the UNet in ``folder`` and writes the program, in float32."""
    os.nice(NICE)
    app = os.getppid()
    import openvino
    import torch
    from diffusers import UNet2DConditionModel

    torch.set_num_threads(1)
    unet = UNet2DConditionModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = unet

        def forward(self, noisy: torch.Tensor, times: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
            return self.unet(noisy, times, encoder_hidden_states=hidden, return_dict=False)[0]

    with torch.no_grad():
        model = openvino.convert_model(
            Called().eval(), example_input=example(unet.config, ROWS, torch.Generator().manual_seed(0))
        )
    if os.getppid() == app:  # an app that was killed would never remove the file
        openvino.save_model(model, out, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
