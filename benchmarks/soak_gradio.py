"""Clients of ``soak.py`` that use Gradio: a page, with the protocol of a browser, and ``gradio_client``."""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
from typing import Any

import httpx
from gradio_client import Client

from benchmarks.soak_known import PATIENCE, PICTURES, SLOW, Soak, same

PICTURE = re.compile(r"/text-to-image/pictures/[\w./-]+?\.png")  # its URL in Gradio's events


async def page_listener(soak: Soak) -> dict[str, Any]:
    """Returns the ids of the listeners of *Generate*, of the one that then watches, and of *Stop*.

    Also returns the values and labels of the inputs of *Generate*.
    """
    async with httpx.AsyncClient(base_url=soak.address, timeout=60) as http:
        config = (await http.get("/config")).raise_for_status().json()
    parts = {part["id"]: part for part in config["components"]}
    listeners: dict[str, Any] = {}
    for listener in config["dependencies"]:
        for target, _ in listener["targets"]:
            name = parts.get(target, {}).get("props", {}).get("value")
            if name in ("Generate", "Stop") and listener["backend_fn"]:
                listeners.setdefault(name, listener)
    watch = next(d for d in config["dependencies"] if d.get("trigger_after") == listeners["Generate"]["id"])
    values = [parts[i]["props"].get("value") for i in listeners["Generate"]["inputs"]]
    labels = [str(parts[i]["props"].get("label")) for i in listeners["Generate"]["inputs"]]
    numbers = {"generate": listeners["Generate"]["id"], "watch": watch["id"], "stop": listeners["Stop"]["id"]}
    return numbers | {"values": values, "labels": labels}


async def page(soak: Soak, http: httpx.AsyncClient, rng: random.Random, stop: bool = False) -> str:
    """Opens a page, sends one request, and closes the page."""
    kind, known, session = "page that stops" if stop else "page", soak.known["page"], secrets.token_hex(6)
    question = rng.choice(PICTURES) | ({"steps": 60} if stop else {})
    (await http.get("/")).raise_for_status()
    by_label = {"Prompt": "prompt", "Steps": "steps", "Seed": "seed", "Scheduler": "scheduler"}
    data = [
        question[by_label[label]] if label in by_label else value
        for label, value in zip(known["labels"], known["values"], strict=True)
    ]
    data[0] = key = secrets.token_hex(16)  # the visitor's key

    async def run(name: str, data: list[Any]) -> None:
        payload = {"data": data, "fn_index": known[name], "session_hash": session}
        (await http.post("/gradio_api/run/predict", json=payload)).raise_for_status()

    async with http.stream("GET", f"/gradio_api/heartbeat/{session}") as _:
        await run("generate", data)
        body = {"data": [key, ""], "fn_index": known["watch"], "session_hash": session}
        (await http.post("/gradio_api/queue/join", json=body)).raise_for_status()
        last, address = "", ""
        async with http.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as events:
            async for line in events.aiter_lines():
                last = line or last
                address = next(iter(PICTURE.findall(line)), address)
                if '"process_completed"' in line:
                    break
                if stop and '"process_generating"' in line:
                    await run("stop", [key])
                    stop = False
        ended = '"process_completed"' in last and json.loads(last.removeprefix("data: ")).get("success")
        if kind == "page that stops" or not ended or not address:
            return soak.check(kind, bool(ended and (address or kind != "page")), f"ended with {last}"[:300])
        picture = (await http.get(address)).raise_for_status().content
    return soak.check(kind, same(soak, question, picture), f"{question}")


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
