"""Whether a Space runs a revision: its stages, what its ``/healthz`` says, and its log where it does not.

The stage alone proves nothing: right after a commit the Hub still tells the one before, RUNNING or BUILD_ERROR.
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
LINES = 200  # of a log, its last ones
EVERY = 1.0  # seconds between two looks
AGAIN = 30.0  # seconds after which a stage that lasts is told again
STALE = 90.0  # seconds after which a stage is believed that was there before the commit
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def stage(space: Space) -> str:
    """The Hub's word, in capitals; raises DeploymentFailed where it cannot be asked."""
    with space.told():
        return str(space.api.get_space_runtime(space.name).stage)


def health(space: Space) -> dict:
    """What the Space's own ``/healthz`` says; empty where nothing of ours answers."""
    assert space.info
    token = get_token() if space.info.private else None
    try:
        answer = httpx2.get(
            f"{space.info.host}/healthz",
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=10,
            follow_redirects=False,  # a token goes to the Space only
        )
        found = answer.json() if answer.status_code == 200 else {}
    except (httpx2.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def wait(space: Space, revision: str, before: str, say: Say, *, timeout: float, stale: float = STALE) -> None:
    """Returns when the Space serves ``revision`` and is ready.

    ``before`` is the stage before the commit. Raises DeploymentFailed, with the log, where the Space ends in another
    stage, says that its model cannot be loaded, or is not there after ``timeout`` seconds.
    """
    start = time.monotonic()
    moved, shown, told = False, "", 0.0
    while (passed := time.monotonic() - start) < timeout:
        try:
            now = stage(space)
        except DeploymentFailed as error:  # the Hub hiccups: it may know better in a moment
            now = shown or before
            say(f"{_clock(passed)} {error.message}")
        moved = moved or now != before
        if now != shown or passed - told > AGAIN:
            say(f"{_clock(passed)} {now}")
            shown, told = now, passed
        if now in ENDED and (moved or passed > stale):
            raise DeploymentFailed(f"The Space ended in {now}.", log(space, LOGS.get(now, "run")))
        if now == "SLEEPING" or now.startswith("RUNNING"):
            found = health(space)
            if found.get("revision") == revision and found.get("status") != "loading":
                if found.get("status") == "failed":
                    raise DeploymentFailed(f"The Space runs, and has no model: {found.get('error')}", log(space, "run"))
                return
        time.sleep(min(EVERY, timeout))
    raise DeploymentFailed(
        f"The Space does not serve {revision[:12]} after {timeout:.0f} seconds; its stage is {shown or before}.",
        log(space, "build") + log(space, "run"),
    )


def log(space: Space, kind: str) -> str:
    """The last lines of the Space's ``build`` or ``run`` log, without colours; says so where there is none."""
    text = ""
    try:
        for part in space.api.fetch_space_logs(space.name, build=kind == "build"):
            text += part if part.endswith("\n") else part + "\n"
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        text += f"(the Hub gives no {kind} log: {type(error).__name__})\n"
    lines = COLOURS.sub("", text).splitlines()[-LINES:]
    return "".join(f"  {line}\n" for line in [f"-- {kind} log of {space.name} --", *lines])


def _clock(seconds: float) -> str:
    return f"{seconds // 60:2.0f}:{seconds % 60:02.0f}"
