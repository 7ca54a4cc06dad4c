"""Wait until a Space runs a revision: its stage, its ``/healthz``, and its log if it fails.

The stage alone proves nothing: right after a commit, the Hub still returns the previous one, RUNNING or BUILD_ERROR.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import httpx2
from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError

from lib.deploy import DeploymentFailed
from lib.deploy.space import Space

Say = Callable[[str], None]

LOGS = {"BUILD_ERROR": "build", "RUNTIME_ERROR": "run", "CONFIG_ERROR": "build", "NO_APP_FILE": "build"}
ENDED = {*LOGS, "PAUSED", "STOPPED", "DELETING"}
LINES = 200  # last lines of a log
EVERY = 1.0  # polling interval in seconds
AGAIN = 30.0  # seconds after which an unchanged stage is printed again
STALE = 90.0  # seconds after which a stage that is the same as before the commit is trusted
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def stage(space: Space) -> str:
    """Return the stage from the Hub, in capitals. Raises DeploymentFailed if the Hub cannot be reached."""
    with space.told():
        return str(space.api.get_space_runtime(space.name).stage)


def health(space: Space) -> dict:
    """Return the response of the Space's ``/healthz``, or {} if it gives none."""
    assert space.info
    token = get_token() if space.info.private else None
    try:
        answer = httpx2.get(
            f"{space.info.host}/healthz",
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=10,
            follow_redirects=False,  # send the token only to the Space
        )
        content = answer.json() if answer.status_code == 200 else {}
    except (httpx2.HTTPError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def wait(space: Space, revision: str, before: str, say: Say, *, timeout: float, stale: float = STALE) -> None:
    """Wait until the Space serves ``revision`` and is ready.

    ``before``: the stage before the commit; times are in seconds. Raises DeploymentFailed, with the log, if the Space ends
    in an error stage, cannot load its model, or is not ready after ``timeout``.
    """
    start = time.monotonic()
    changed, shown, printed_at = False, "", 0.0
    while (elapsed := time.monotonic() - start) < timeout:
        try:
            current = stage(space)
        except DeploymentFailed as error:  # a temporary error of the Hub
            current = shown or before
            say(f"{_clock(elapsed)} {error.message}")
        changed = changed or current != before
        if current != shown or elapsed - printed_at > AGAIN:
            say(f"{_clock(elapsed)} {current}")
            shown, printed_at = current, elapsed
        if current in ENDED and (changed or elapsed > stale):
            raise DeploymentFailed(f"The Space ended in {current}.", log(space, LOGS.get(current, "run")))
        if current == "SLEEPING" or current.startswith("RUNNING"):
            status = health(space)
            if status.get("revision") == revision and status.get("status") != "loading":
                if status.get("status") == "failed":
                    raise DeploymentFailed(f"The Space is running without a model: {status.get('error')}", log(space, "run"))
                return
        time.sleep(min(EVERY, timeout))
    raise DeploymentFailed(
        f"The Space is not serving {revision[:12]} after {timeout:.0f} seconds; its stage is {shown or before}.",
        log(space, "build") + log(space, "run"),
    )


def log(space: Space, kind: str) -> str:
    """Return the last lines of the Space's ``build`` or ``run`` log, without colours, or a note if there is none."""
    text = ""
    try:
        for part in space.api.fetch_space_logs(space.name, build=kind == "build"):
            text += part if part.endswith("\n") else part + "\n"
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        text += f"(the Hub returned no {kind} log: {type(error).__name__})\n"
    lines = COLOURS.sub("", text).splitlines()[-LINES:]
    return "".join(f"  {line}\n" for line in [f"-- {kind} log of {space.name} --", *lines])


def _clock(seconds: float) -> str:
    return f"{seconds // 60:2.0f}:{seconds % 60:02.0f}"
