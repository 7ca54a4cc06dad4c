"""The UNet as an OpenVINO program, on a CPU. PyTorch computes what it does not take: LoRAs, odd sizes, mixed lengths.

The rows of a call are cut in as many parts as there are streams, one thread each where the model is small: they meet at
the end of the call, so a core that other processes want holds up no operator of the other cores. A program is made once
for each model and version of OpenVINO, in a child process of low priority, and kept in the data folder. Until it is
there, and wherever it does not agree with PyTorch, PyTorch goes on. Figures: docs/text_to_image.md.
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
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.settings import Settings
from lib.text_to_image.threads import SMALL, all_threads

if TYPE_CHECKING:
    import torch

    from lib.text_to_image.families import Conditioning

ROOT = Path(__file__).parent.parent.parent
ROWS = 2  # of one guided request
MAX_PARAMETERS = 400e6  # tracing takes three times their memory
AGREES = 1e-4  # of the largest value of PyTorch's output; OpenVINO 2026.4 differs by 1e-6
NICE = 10
Streams = tuple[Any, ...]  # OpenVINO's InferRequests
TRIES = (1.0, 5.0, 30.0, 0.0)  # seconds after each


class CompiledUNet:
    """Used by the engine's thread only. ``ready`` once a program is there and agrees."""

    # What computes a part of the rows each: of a request that is alone, and of several. Fixed, so that a picture alone
    # is the same every time.
    _lone: Streams = ()
    _shared: Streams = ()

    def __init__(self, network: Any, folder: Path, program: Path) -> None:
        """``folder`` holds the UNet's config and safetensors; ``program`` is the ``.xml`` that is read, or made first."""
        self._network, self._folder, self._program = network, folder, program
        self._multiple = 2 ** (len(network.config.block_out_channels) - 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.thread = threading.Thread(target=self._prepare, daemon=True, name="compile the UNet")

    @classmethod
    def begin(cls, network: Any, folder: Path, revision: str, settings: Settings) -> CompiledUNet | None:
        """In the background; None for what is not compiled. ``folder`` is the pipeline's."""
        import torch

        plain = getattr(network.config, "addition_embed_type", None) is None and network.config.time_cond_proj_dim is None
        cpu = network.device.type == "cpu" and network.dtype == torch.float32
        small = sum(p.numel() for p in network.parameters()) <= MAX_PARAMETERS
        wanted = settings.compile_unet and not settings.reproducible
        if not (wanted and plain and cpu and small and importlib.util.find_spec("openvino")):
            return None
        name = f"{revision[:16]}-{importlib.metadata.version('openvino')}.xml"
        found = cls(network, folder / "unet", settings.data_folder / "compiled" / name)
        found.thread.start()
        return found

    @property
    def ready(self) -> bool:
        return bool(self._lone)

    def takes(self, noisy: torch.Tensor, conditions: Sequence[Conditioning]) -> bool:
        """Whether a call with these rows is computed by the program: other sizes take other ways through the UNet."""
        even = noisy.shape[2] % self._multiple == noisy.shape[3] % self._multiple == 0
        return self.ready and even and len({len(c.hidden) for c in conditions}) == 1

    def __call__(self, noisy: torch.Tensor, times: torch.Tensor, hidden: torch.Tensor, *, together: bool) -> torch.Tensor:
        """As the UNet: [n, C, h, w], [n] and [n, tokens, width], float32, to [n, C, h, w]; ``together``: of several."""
        return infer(self._shared if together else self._lone, noisy, times, hidden)

    def close(self) -> None:
        """Ends the process that makes the program, where one runs."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _prepare(self) -> None:
        log = logging.getLogger(__name__)
        try:
            if (self._program.is_file() or self._make()) and not self._closed:
                lone, shared = self._opened()
                if self._agrees_in_time(lone):
                    self._shared = shared
                    self._lone = lone  # last: it says that both are there
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

    def _opened(self) -> tuple[Streams, Streams]:
        """With the weights in memory, so that whoever makes the file anew changes nothing here."""
        import openvino

        core, config, cores = openvino.Core(), self._network.config, all_threads()
        model = core.read_model(self._program.read_bytes(), self._program.with_suffix(".bin").read_bytes())

        def streams(count: int, threads: int) -> Streams:
            options = {"NUM_STREAMS": count, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
            # threads that are held to a core wait for whatever else runs there
            program = core.compile_model(model, "CPU", options | {"ENABLE_CPU_PINNING": False})
            return tuple(program.create_infer_request() for _ in range(count))

        size = sum(p.numel() for p in self._network.parameters()) * ROWS * config.sample_size**2
        parts = min(ROWS, cores)
        lone = streams(parts, parts if size <= SMALL else cores)  # as with PyTorch (threads.py)
        return lone, lone if cores == parts else streams(cores, cores)

    def _agrees_in_time(self, streams: Streams) -> bool:
        """Tries again: while the engine's thread draws with a LoRA, PyTorch's own output is another (``lora_rows.py``)."""
        for pause in TRIES:
            try:
                if self._closed or self._agrees(streams):
                    return not self._closed
            except Exception:  # of a hook that has other rows
                logging.getLogger(__name__).debug("the UNet was busy", exc_info=True)
            time.sleep(pause)
        return False

    def _agrees(self, streams: Streams) -> bool:
        """On random inputs of one and of two rows."""
        import torch

        config, generator = self._network.config, torch.Generator().manual_seed(0)
        for rows in (1, ROWS):
            given = example(config, rows, generator)
            with torch.inference_mode():
                expected = self._network(given[0], given[1], encoder_hidden_states=given[2], return_dict=False)[0]
            found = infer(streams, *given)
            if not bool((found - expected).abs().max() <= AGREES * expected.abs().max()):
                return False
        return True


def infer(streams: Streams, *inputs: torch.Tensor) -> torch.Tensor:
    """[n, ...] of inputs [n, ...], a part of the rows a stream, all at once."""
    import torch

    n, parts = len(inputs[0]), min(len(inputs[0]), len(streams))
    bounds = [n * k // parts for k in range(parts + 1)]
    with ExitStack() as all_waited:  # also after an error: none may run on while another call begins
        for request, start, stop in zip(streams, bounds, bounds[1:], strict=False):
            request.start_async({k: one[start:stop].numpy() for k, one in enumerate(inputs)})
            all_waited.callback(request.wait)
    return torch.cat([torch.from_numpy(request.get_output_tensor().data) for request in streams[:parts]])


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
