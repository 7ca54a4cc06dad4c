"""A commit of this repository on a Space: what goes up (``tree``), how (``space``), and whether it runs (``running``).

``spaces/deploy.py`` is its command. Needs ``huggingface_hub`` and git, nothing else of ours; no Space gets this folder.
"""

from lib.errors import WorkbenchError


class DeploymentFailed(WorkbenchError):
    """The Space does not run the new revision; the message says why, ``log`` holds what the Space said."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
