"""Deploys a commit of this repository to a Space and waits until the Space runs it.

    python spaces/deploy.py you/workbench                       the whole app
    python spaces/deploy.py you/convert --tab convert           a single tab
    python spaces/deploy.py --install you/workbench             from now on: git push space main

Needs huggingface_hub, and a token that may write to the Space (`hf auth login`, or HF_TOKEN). docs/deploy.md has more.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from huggingface_hub.utils import disable_progress_bars

from lib.deploy import DeploymentFailed, remote, running, tree
from lib.deploy.space import ZERO_GPU, Difference, Space
from lib.errors import WorkbenchError

ROOT = Path(__file__).resolve().parent.parent


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    ap = argparse.ArgumentParser("deploy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("space", help="owner/name; created if it does not exist")
    ap.add_argument("--tab", help="deploy only this tab (a folder of spaces/) and what it needs")
    ap.add_argument("--hardware", help="zerogpu, cpu-basic, t4-small, l4x1 …; unchanged if omitted")
    ap.add_argument("--private", action="store_true", help="if the Space is created now, make it private")
    ap.add_argument("--commit", default="HEAD", help="the commit to deploy (HEAD)")
    ap.add_argument("--timeout", type=float, default=1800, help="seconds to wait until the Space runs it (1800)")
    ap.add_argument("--dry-run", action="store_true", help="show what would change, but change nothing")
    ap.add_argument("--install", action="store_true", help="add a git remote that deploys each push, or rejects it")
    ap.add_argument("--remote", default="space", help="the remote's name (space)")
    ap.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)  # the remote's hook
    return ap.parse_args(words)


def say(text: str) -> None:
    print(text, flush=True)


def described(files: tree.Files, difference: Difference) -> str:
    size = sum(len(files[p]) for p in difference.new + difference.changed)
    counts = f"{len(difference.new)} new, {len(difference.changed)} changed, {len(difference.gone)} gone"
    return f"{len(files)} files: {counts}; {size / 1e6:.1f} MB to upload"


def deploy(repository: Path, commit: str, given: argparse.Namespace) -> None:
    """``commit`` of the repository at ``repository`` (bare, in the hook) on the Space, in one commit of the Space's."""
    identity = tree.identity(repository, commit)
    files = tree.of_commit(repository, identity)
    files = tree.one_tab(files, given.tab) if given.tab else tree.whole(files)
    revision = f"{identity}-{given.tab}" if given.tab else identity
    files[tree.REVISION] = f"{revision}\n".encode()
    title = remote.git(repository, "show", "--no-patch", "--format=%s", identity)
    say(f"{identity[:12]} {title}")

    space, hardware = Space(given.space), ZERO_GPU if given.hardware == "zerogpu" else given.hardware
    space.look()
    difference = space.difference(files)
    say(f"{space.name}{'' if space.info else ' (to be created)'}: {described(files, difference)}")
    if given.dry_run:
        for mark, paths in (("+", difference.new), ("~", difference.changed), ("-", difference.gone)):
            say("".join(f"{mark} {path}\n" for path in paths).rstrip() or f"{mark} nothing")
        return
    if space.info is None:
        space.create(hardware, given.private)
        difference = space.difference(files)  # the Hub puts files of its own into a new Space
        before = running.stage(space)
    else:
        before = running.stage(space)
        if before == "PAUSED":
            raise DeploymentFailed("The Space is paused: restart it in its settings, then deploy again.")
        if hardware and space.set_hardware(hardware):  # refused, it leaves the Space as it was
            say(f"requested {hardware}")
    if difference:
        space.commit(files, difference, title, f"Revision {revision}")
        say("committed; waiting for the Space")
    elif before in running.ENDED:
        space.rebuild()
        say(f"nothing to commit, but the Space is in {before}: rebuilding it")
    running.wait(space, revision, before, say, timeout=given.timeout)
    say(f"{space.name} runs {revision[:12]}: {space.info.host}")  # type: ignore[union-attr]


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    if not sys.stderr.isatty():  # a bar is noise in a log, and behind git's "remote:"
        disable_progress_bars()
    try:
        if given.receive:
            deploy(Path.cwd(), remote.received(sys.stdin.readlines()), given)
        elif given.install:
            Space(given.space)  # a name that cannot be is told now
            if given.tab:
                tree.one_tab(tree.of_folder(ROOT), given.tab)
            own = [given.space, *(["--tab", given.tab] if given.tab else []), "--timeout", f"{given.timeout:g}"]
            own += ["--hardware", given.hardware] if given.hardware else []
            own += ["--private"] if given.private else []
            remote.install(ROOT, Path(__file__).resolve(), given.remote, own)
            say(f"git push {given.remote} main deploys to {given.space}, and is rejected if the Space does not run it.")
        else:
            if given.commit == "HEAD" and remote.git(ROOT, "status", "--porcelain"):
                say("Uncommitted changes are not deployed.")
            deploy(ROOT, given.commit, given)
    except WorkbenchError as error:
        if isinstance(error, DeploymentFailed) and error.log:
            say(error.log)
        print(f"Not deployed: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
