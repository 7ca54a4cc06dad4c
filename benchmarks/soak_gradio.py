"""Clients of ``soak.py`` that come by Gradio: a page, as a browser speaks, and ``gradio_client``."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from typing import Any

import httpx
from gradio_client import Client

from benchmarks.soak_known import PATIENCE, PICTURES, SLOW, Soak, same


async def page_listener(soak: Soak) -> dict[str, Any]:
    """Number and inputs of what the button *Generate* calls, and of *Stop*."""
    async with httpx.AsyncClient(base_url=soak.address, timeout=60) as http:
        config = (await http.get("/config")).raise_for_status().json()
    parts = {part["id"]: part for part in config["components"]}
    of = {}
    for listener in config["dependencies"]:
        for target, _ in listener["targets"]:
            name = parts.get(target, {}).get("props", {}).get("value")
            if name in ("Generate", "Stop") and listener["backend_fn"] and (name == "Generate") == bool(listener["queue"]):
                of.setdefault(name, listener)
    values = [parts[i]["props"].get("value") for i in of["Generate"]["inputs"]]
    labels = [str(parts[i]["props"].get("label")) for i in of["Generate"]["inputs"]]
    return {"generate": of["Generate"]["id"], "stop": of["Stop"]["id"], "values": values, "labels": labels}


async def page(soak: Soak, http: httpx.AsyncClient, rng: random.Random, stop: bool = False) -> str:
    """A page that is opened, asked once and closed."""
    kind, known, session = "page that stops" if stop else "page", soak.known["page"], secrets.token_hex(6)
    question = rng.choice(PICTURES) | ({"steps": 60} if stop else {})
    (await http.get("/")).raise_for_status()
    by_label = {"Prompt": "prompt", "Steps": "steps", "Seed": "seed", "Scheduler": "scheduler"}
    data = [
        question[by_label[label]] if label in by_label else value
        for label, value in zip(known["labels"], known["values"], strict=True)
    ]
    data[-1] = secrets.token_hex(16)  # the visitor's key
    body = {"data": data, "fn_index": known["generate"], "session_hash": session}
    async with http.stream("GET", f"/gradio_api/heartbeat/{session}") as _:
        (await http.post("/gradio_api/queue/join", json=body)).raise_for_status()
        last: dict[str, Any] = {}
        async with http.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as events:
            async for line in events.aiter_lines():
                last = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else last
                if last.get("msg") == "process_completed":
                    break
                if stop and last.get("msg") == "process_generating":
                    asked = {"data": [], "fn_index": known["stop"], "session_hash": session}
                    (await http.post("/gradio_api/run/predict", json=asked)).raise_for_status()
                    stop = False
        ended = last.get("msg") == "process_completed" and last.get("success")
        if kind == "page that stops":
            return soak.check(kind, bool(ended), f"ended with {last}"[:300])
        if not ended:
            return soak.check(kind, False, f"ended with {last}"[:300])
        path = _file(last["output"]["data"])
        picture = (await http.get(f"/gradio_api/file={path}")).raise_for_status().content
    return soak.check(kind, same(soak, question, picture), f"{question}")


def _file(value: Any) -> str:
    """The first picture's path in what Gradio sent."""
    if isinstance(value, dict):
        if str(value.get("path", "")).endswith(".png"):
            return value["path"]
        value = list(value.values())
    found = [_file(one) for one in value] if isinstance(value, list) else []
    return next((path for path in found if path), "")


async def gradio(soak: Soak, http: httpx.AsyncClient, rng: random.Random, cancel: bool = False) -> str:
    question = rng.choice(PICTURES) | ({"steps": 60} if cancel else {})
    client = await asyncio.to_thread(Client, soak.address, verbose=False, download_files=False, httpx_kwargs=SLOW)
    job = client.submit(**question, api_name="/text_to_image")
    if cancel:
        await asyncio.sleep(rng.uniform(0.1, 3))
        await asyncio.to_thread(job.cancel)
        await asyncio.to_thread(client.close)
        return "cancelled"
    picture, info = await asyncio.to_thread(job.result, PATIENCE)
    path = picture["path"] if isinstance(picture, dict) else picture
    data = (await http.get(f"/gradio_api/file={path}")).raise_for_status().content
    await asyncio.to_thread(client.close)
    return soak.check("gradio", info["seed"] == question["seed"] and same(soak, question, data), f"{question}")
