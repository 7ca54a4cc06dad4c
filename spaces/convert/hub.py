"""Push a result to the Hub with the visitor's token, as a new repository or a pull request to an existing one.

The token is never stored and never part of a message.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
import zipfile
from pathlib import Path

import gradio as gr
from gradio import oauth
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from lib.errors import InvalidValue, JobFailed, WorkbenchError

from .subject import Outcome

NEW, PULL = "New repository", "Pull request"
ALLOWED = "owner/name: letters, digits, - _ and ., at most 96 characters"
FOLDER = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")
FRONT = "---\ntags:\n- model-workbench\n- {format}\n---\n\n"


def can_sign_in() -> bool:
    """Return True on a Space with ``hf_oauth: true`` if the packages that gradio's sign-in imports are installed."""
    installed = all(importlib.util.find_spec(name) for name in ("authlib", "itsdangerous"))
    return oauth.get_space() is not None and bool(oauth.OAUTH_CLIENT_ID) and installed


def push(
    outcome: Outcome | None,
    token: gr.OAuthToken | str | None,
    repository: str | None,
    how: str = NEW,
    *,
    folder: str | None = "",
    private: bool = True,
    anyway: bool = False,
    endpoint: str | None = None,
) -> str:
    """Upload the package's files into ``folder`` of ``repository``. Returns the URL of the repository or pull request.

    Blocks until the upload ends. Only proven results are pushed, unless ``anyway``. Raises InvalidValue or JobFailed.
    """
    if outcome is None or outcome.package is None:
        raise JobFailed("There is no result to push. Convert a model first; a withheld file is not pushed.")
    verdict = outcome.report.get("verdict")
    if verdict != "proven" and not anyway:
        raise JobFailed(f"This result is {verdict}. Tick “Push even if it is not proven” to push it anyway.")
    if token is None:
        raise JobFailed("You are not signed in. Sign in with Hugging Face first.")
    if how not in (NEW, PULL):
        raise InvalidValue("how", how, f"{NEW}, {PULL}")
    secret = token if isinstance(token, str) else token.token
    name, prefix = _repository(repository), _folder(folder)
    api, created = HfApi(endpoint=endpoint, token=secret, library_name="model-workbench"), False
    try:
        with tempfile.TemporaryDirectory(prefix="workbench-push-") as home:
            files = _unpacked(outcome, Path(home))
            if how == NEW:
                api.create_repo(name, private=private)  # fails if it exists: it may hold other work
                created = True
            operations = [CommitOperationAdd(f"{prefix}{path}", file) for path, file in files.items()]
            commit = api.create_commit(name, operations, commit_message=_title(outcome), create_pr=how == PULL)
        return str(commit.pr_url or f"{api.endpoint}/{name}")
    except WorkbenchError:
        raise
    except Exception as error:  # also a lost connection, a rejected model card …
        message = _message(error, name, how)
        # neither the error's message nor its cause: they may contain the request, including the token
        raise JobFailed(f"{message} The repository {name} was created and is empty." if created else message) from None


def _repository(text: str | None) -> str:
    name = (text or "").strip()
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise InvalidValue("repository", name, ALLOWED) from None
    if name.count("/") != 1:
        raise InvalidValue("repository", name, ALLOWED)
    return name


def _folder(text: str | None) -> str:
    """Return the folder with a trailing slash, or "" for the top level. Raises InvalidValue."""
    name = (text or "").strip().strip("/")
    if name and (len(name) > 100 or not FOLDER.fullmatch(name)):
        raise InvalidValue("folder", name, "a plain name such as onnx-fp16, or nothing for the top level of the repository")
    return f"{name}/" if name else ""


def _unpacked(outcome: Outcome, home: Path) -> dict[str, Path]:
    """Extract the package into ``home``. Returns its files by name; the model card gets front matter if it has none."""
    assert outcome.package is not None
    with zipfile.ZipFile(outcome.package) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")]
        for name in names:
            archive.extract(name, home)  # drops "..", drives and leading slashes
    files = {name: home / name for name in names if (home / name).is_file()}
    if (card := files.get("README.md")) is not None:
        text = card.read_text(encoding="utf-8")
        if not text.startswith("---"):
            front = FRONT.format(format=outcome.report.get("target", {}).get("format", "converted"))
            card.write_text(front + text, encoding="utf-8")
    return files


def _title(outcome: Outcome) -> str:
    target = outcome.report.get("target", {}).get("title", "converted model")
    return f"Add {target} ({outcome.report.get('verdict', 'unproven')}) by Model Workbench"


def _message(error: Exception, name: str, how: str) -> str:
    """Return the message for the visitor, by HTTP status."""
    response = error.response if isinstance(error, HfHubHTTPError) else None
    if response is None:
        return f"The push to {name} failed ({type(error).__name__}). Please try again."
    messages = {
        401: "The Hub does not accept your sign-in any more. Sign out and in again.",
        403: f"You may not write to {name}. Choose a repository of yours, or open a pull request instead.",
        404: f"There is no repository {name} that you can see. Check its name, or make a new repository.",
        409: f"{name} exists already. Choose another name, or open a pull request to it.",
        429: "The Hub limits requests. Try again in a few minutes.",
    }
    if response.status_code == 403 and how == PULL:
        return f"{name} takes no pull request from you: its owner may have closed its community tab."
    return messages.get(
        response.status_code, f"The Hub answered with an error ({response.status_code}). Please try again later."
    )
