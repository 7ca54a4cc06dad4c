"""The UNet compiled with OpenVINO for the CPU. PyTorch runs the unsupported cases: LoRAs, odd sizes, mixed prompt lengths.

The rows of a call are split over the streams, one thread each if the model is small. Streams synchronize only at the end
of the call, so a core that other processes use does not block the operators on other cores. The UNet is compiled once for
each model and version of OpenVINO, in a child process of low priority, and kept in the data folder. PyTorch is used until
then, and also if the outputs differ from PyTorch's. Measurements: docs/text_to_image.md.
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
TOLERANCE = 1e-4  # of the largest value of PyTorch's output; OpenVINO 2026.4 differs by 1e-6
NICE = 10
Streams = tuple[Any, ...]  # OpenVINO's InferRequests
RETRY_PAUSES = (1.0, 5.0, 30.0, 0.0)  # seconds after each comparison


class CompiledUNet:
    """Used by the engine's thread only. ``ready`` is true once a program is compiled and its outputs match PyTorch's."""

    # Each stream computes a part of the rows. A call with one request always uses the same streams, so that its picture
    # is reproducible.
    _single_streams: Streams = ()
    _shared_streams: Streams = ()

    def __init__(self, network: Any, folder: Path, program: Path) -> None:
        """``folder`` holds the UNet's config and safetensors; ``program`` is the compiled ``.xml``."""
        self._network, self._folder, self._program = network, folder, program
        self._multiple = 2 ** (len(network.config.block_out_channels) - 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.thread = threading.Thread(target=self._prepare, daemon=True, name="compile the UNet")

    @classmethod
    def start(cls, network: Any, folder: Path, revision: str, settings: Settings) -> CompiledUNet | None:
        """Start compiling in the background. Returns None if the network is not supported. ``folder``: of the pipeline."""
        import torch

        plain = getattr(network.config, "addition_embed_type", None) is None and network.config.time_cond_proj_dim is None
        cpu = network.device.type == "cpu" and network.dtype == torch.float32
        small = sum(p.numel() for p in network.parameters()) <= MAX_PARAMETERS
        enabled = settings.compile_unet and not settings.reproducible
        if not (enabled and plain and cpu and small and importlib.util.find_spec("openvino")):
            return None
        name = f"{revision[:16]}-{importlib.metadata.version('openvino')}.xml"
        compiled = cls(network, folder / "unet", settings.data_folder / "compiled" / name)
        compiled.thread.start()
        return compiled

    @property
    def ready(self) -> bool:
        return bool(self._single_streams)

    def supports(self, noisy: torch.Tensor, conditions: Sequence[Conditioning]) -> bool:
        """Return whether the program can compute these rows: sizes divisible by the UNet's downsampling, prompts of one
        length."""
        even = noisy.shape[2] % self._multiple == noisy.shape[3] % self._multiple == 0
        return self.ready and even and len({len(c.hidden) for c in conditions}) == 1

    def __call__(self, noisy: torch.Tensor, times: torch.Tensor, hidden: torch.Tensor, *, together: bool) -> torch.Tensor:
        """Call the UNet: float32 [n, C, h, w], [n], [n, tokens, width] to [n, C, h, w]. ``together``: several requests."""
        return infer(self._shared_streams if together else self._single_streams, noisy, times, hidden)

    def close(self) -> None:
        """Kill the compiling process, if it runs."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _prepare(self) -> None:
        log = logging.getLogger(__name__)
        try:
            if (self._program.is_file() or self._make()) and not self._closed:
                lone, shared = self._create_streams()
                if self._agrees_with_retries(lone):
                    self._shared_streams = shared
                    self._single_streams = lone  # set last: ``ready`` reads it
                elif not self._closed:
                    log.warning("OpenVINO's UNet differs from PyTorch's, so it is not used.")
        except Exception as error:  # raised by OpenVINO; PyTorch is used instead
            log.warning("The UNet could not be compiled (%s); PyTorch goes on.", type(error).__name__)

    def _make(self) -> bool:
        """Compile in another process, since tracing would block this one. Returns whether the program was written."""
        self._program.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._program.with_name(f"{os.getpid()}-{self._program.name}")
        command = [sys.executable, "-m", "lib.text_to_image.compiled", str(self._folder), str(temporary)]
        if self._closed:
            return False
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if self._process.wait() != 0:
                return False
            temporary.with_suffix(".bin").replace(self._program.with_suffix(".bin"))
            temporary.replace(self._program)
        finally:
            for leftover in (temporary, temporary.with_suffix(".bin")):
                leftover.unlink(missing_ok=True)
        return True

    def _create_streams(self) -> tuple[Streams, Streams]:
        """Create the streams of single and of shared calls. The program is read into memory, so that rewriting the file
        does not affect this process."""
        import openvino

        core, config, cores = openvino.Core(), self._network.config, all_threads()
        model = core.read_model(self._program.read_bytes(), self._program.with_suffix(".bin").read_bytes())

        def streams(count: int, threads: int) -> Streams:
            options = {"NUM_STREAMS": count, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
            # pinned threads would wait for other processes on their core
            program = core.compile_model(model, "CPU", options | {"ENABLE_CPU_PINNING": False})
            return tuple(program.create_infer_request() for _ in range(count))

        size = sum(p.numel() for p in self._network.parameters()) * ROWS * config.sample_size**2
        parts = min(ROWS, cores)
        lone = streams(parts, parts if size <= SMALL else cores)  # as with PyTorch (threads.py)
        return lone, lone if cores == parts else streams(cores, cores)

    def _agrees_with_retries(self, streams: Streams) -> bool:
        """Compare with PyTorch several times, since its output differs while a LoRA is applied (``lora_rows.py``)."""
        for pause in RETRY_PAUSES:
            try:
                if self._closed or self._agrees(streams):
                    return not self._closed
            except Exception:  # raised by a LoRA hook that expects other rows
                logging.getLogger(__name__).debug("the UNet was busy", exc_info=True)
            time.sleep(pause)
        return False

    def _agrees(self, streams: Streams) -> bool:
        """Compare with PyTorch on random inputs of one and two rows."""
        import torch

        config, generator = self._network.config, torch.Generator().manual_seed(0)
        for rows in (1, ROWS):
            inputs = example(config, rows, generator)
            with torch.inference_mode():
                expected = self._network(inputs[0], inputs[1], encoder_hidden_states=inputs[2], return_dict=False)[0]
            actual = infer(streams, *inputs)
            if not bool((actual - expected).abs().max() <= TOLERANCE * expected.abs().max()):
                return False
        return True


def infer(streams: Streams, *inputs: torch.Tensor) -> torch.Tensor:
    """Run inputs [n, ...] to the output [n, ...]. The streams compute parts of the rows in parallel."""
    import torch

    n, parts = len(inputs[0]), min(len(inputs[0]), len(streams))
    bounds = [n * k // parts for k in range(parts + 1)]
    with ExitStack() as all_waited:  # also after an error, since none may run when the next call starts
        for request, start, stop in zip(streams, bounds, bounds[1:], strict=False):
            request.start_async({k: tensor[start:stop].numpy() for k, tensor in enumerate(inputs)})
            all_waited.callback(request.wait)
    return torch.cat([torch.from_numpy(request.get_output_tensor().data) for request in streams[:parts]])


def example(config: Any, rows: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return random inputs of the size that the UNet was trained at."""
    import torch

    size = config.sample_size
    noisy = torch.randn(rows, config.in_channels, size, size, generator=generator)
    return noisy, torch.full((rows,), 500.0), torch.randn(rows, 77, config.cross_attention_dim, generator=generator)


def main(folder: str, out: str) -> None:
    """Trace the UNet in ``folder`` and write the program, in float32."""
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
    if os.getppid() == app:  # if the app was killed, nobody would remove the file
        openvino.save_model(model, out, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
