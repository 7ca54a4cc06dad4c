"""Deploy a commit of this repository to a Space: the files (``tree``), the upload (``space``) and a check (``running``).

``spaces/deploy.py`` is the command. Needs ``huggingface_hub``, httpx2 and git. This folder is not deployed itself.
"""

from lib.errors import WorkbenchError


class DeploymentFailed(WorkbenchError):
    """The Space does not run the new revision. The message says why; ``log`` has the Space's log."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
