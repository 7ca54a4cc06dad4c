"""The clients of ``soak.py``: what each requests, how it disconnects, and whether its response is correct."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import time
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import numpy as np
from gradio_client import Client

from benchmarks.soak_gradio import gradio, page, page_listener
from benchmarks.soak_known import FAR, KINDS, MODELS, PATIENCE, PICTURES, SLOW, TRAINING, Soak, name_of, pixels, same
from lib.onnx_inspect.examples import EXAMPLES

# both uvicorn and httpx close connections that were idle for five seconds; a request sent while uvicorn closes one is
# lost, and httpx does not retry it as browsers do
LIMITS = httpx.Limits(keepalive_expiry=2.0)


async def references(soak: Soak) -> None:
    """Records the response to each request without load. Also warms up lazily loaded components."""
    async with httpx.AsyncClient(base_url=soak.address, timeout=600) as http:
        for question in PICTURES:
            answer = (await http.post("/text-to-image", json=question)).raise_for_status()
            soak.known[name_of(question)] = pixels(answer.content)
        pictures = [soak.known[name_of(question)] for question in PICTURES]
        near = [1 for i, picture in enumerate(pictures) for other in pictures[:i] if np.abs(picture - other).max() < FAR]
        assert not near, "references that look alike would hide another visitor's picture"
        for name in MODELS:
            model = EXAMPLES[name]().SerializeToString()
            report = (await http.post(f"/inspect-onnx?name={name}.onnx", content=model)).raise_for_status().json()
            soak.known[f"inspect {name}"] = report
            converted = (await http.post(f"/convert?target=onnx-slim&name={name}.onnx", content=model)).raise_for_status()
            soak.known[f"convert {name}"] = digest(converted.content)
    client = await asyncio.to_thread(Client, soak.address, verbose=False, httpx_kwargs=SLOW)
    _, report = await asyncio.to_thread(client.predict, **TRAINING, api_name="/train")
    soak.known["train"] = report["accuracy"]
    soak.known["page"] = await page_listener(soak)


def digest(package: bytes) -> str:
    """Returns the SHA-256 of the model in a converted package. Its report contains times, so it is not hashed."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        (name,) = [entry for entry in archive.namelist() if entry.endswith(".onnx")]
        return hashlib.sha256(archive.read(name)).hexdigest()


def start_clients(soak: Soak, clients: int) -> list[asyncio.Task[None]]:
    kinds = [kind for kind, many in KINDS.items() for _ in range(max(1, round(many * clients / 64)))]
    soak.counts = {kind: Counter() for kind in kinds}
    return [asyncio.create_task(_client(soak, kind, number)) for number, kind in enumerate(kinds)]


async def _client(soak: Soak, kind: str, number: int) -> None:
    rng = random.Random(number)
    forwarded = {"X-Forwarded-For": f"203.0.113.{number}"}  # simulates a visitor behind a proxy, as on a Space
    async with httpx.AsyncClient(base_url=soak.address, timeout=PATIENCE, headers=forwarded, limits=LIMITS) as http:
        while time.monotonic() < soak.until:
            try:
                soak.counts[kind][await asyncio.wait_for(ASK[kind](soak, http, rng), PATIENCE)] += 1
            except TimeoutError:
                soak.faults.append((kind, f"unanswered after {PATIENCE:.0f} seconds"))
            except Exception as error:
                soak.faults.append((kind, f"lost: {type(error).__name__}: {error}"[:300]))
                await asyncio.sleep(1)
            await asyncio.sleep(rng.uniform(0, 0.5))


async def rest(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    question = rng.choice(PICTURES)
    answer = await http.post("/text-to-image", json=question)
    if answer.status_code == 429:  # a documented refusal
        await asyncio.sleep(5)
        return "refused"
    right = answer.status_code == 200 and same(soak, question, answer.content)
    return soak.check("rest", right, f"{answer.status_code} {question}")


async def rest_leaves(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    question = {"prompt": "never seen", "steps": 40, "scheduler": rng.choice(["Heun", "Euler"])}
    try:
        await http.post("/text-to-image", json=question, timeout=rng.uniform(0.02, 3))
    except httpx.TimeoutException:
        return "left"
    return "answered"


async def inspect(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    name = rng.choice(MODELS)
    answer = await http.post(f"/inspect-onnx?name={name}.onnx", content=EXAMPLES[name]().SerializeToString())
    right = answer.status_code == 200 and answer.json() == soak.known[f"inspect {name}"]
    return soak.check("inspect", right, f"{answer.status_code} {name}")


async def wrong(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    bad = [("/text-to-image", b'{"prompt": ""}'), ("/inspect-onnx", b"no model"), ("/text-to-image", b"{")]
    path, body = rng.choice(bad)
    answer = await http.post(path, content=body)
    return soak.check("wrong", answer.status_code == 422, f"{answer.status_code} {path}")


async def convert(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    name = rng.choice(MODELS)
    model = EXAMPLES[name]().SerializeToString()
    answer = await http.post(f"/convert?target=onnx-slim&name={name}.onnx", content=model)
    right = answer.status_code == 200 and digest(answer.content) == soak.known[f"convert {name}"]
    return soak.check("convert", right, f"{answer.status_code} {name} {answer.content[:200]!r}")


async def train(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    client = await asyncio.to_thread(Client, soak.address, verbose=False, httpx_kwargs=SLOW)
    _, report = await asyncio.to_thread(client.predict, **TRAINING, api_name="/train")
    await asyncio.to_thread(client.close)
    return soak.check("train", report["accuracy"] == soak.known["train"], f"accuracy {report['accuracy']}")


async def probe(soak: Soak, http: httpx.AsyncClient, rng: random.Random) -> str:
    answers = [await http.get(path) for path in ("/healthz", "/readyz", "/metrics")]
    await asyncio.sleep(1)
    return soak.check("probe", [a.status_code for a in answers] == [200, 200, 401], str([a.status_code for a in answers]))


Ask = Callable[[Soak, httpx.AsyncClient, random.Random], Awaitable[str]]
ASK: dict[str, Ask] = {
    "rest": rest,
    "rest that leaves": rest_leaves,
    "page": page,
    "page that stops": lambda soak, http, rng: page(soak, http, rng, stop=True),
    "gradio": gradio,
    "gradio that cancels": lambda soak, http, rng: gradio(soak, http, rng, cancel=True),
    "inspect": inspect,
    "wrong": wrong,
    "convert": convert,
    "train": train,
    "probe": probe,
}
