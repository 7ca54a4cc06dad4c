"""A job answers, or fails as one of our errors, and leaves nothing behind: no process, no folder, no secret."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lib.errors import Cancelled, InvalidFile, InvalidValue, JobFailed, LimitExceeded, QueueFull, WorkbenchError
from lib.jobs import Job, Jobs, Limits, Progress, Result, _progress

ROOT = Path(__file__).parent.parent
SMALL = Limits(memory_mb=600, cpu_seconds=20, wall_seconds=20, file_mb=32)
APP = """
import sys, time
from lib.jobs import Jobs
jobs = Jobs(workers=1, waiting=1, preload=("tests.job_tasks",))
for event in jobs.submit("tests.job_tasks:family", {}).events():
    print(event.stage, jobs._server.pid, flush=True)
"""


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    os.environ["SECRET"] = "hf_do_not_tell"
    one = Jobs(workers=2, waiting=2, preload=("tests.job_tasks",))
    one.start()
    yield one
    one.close()
    del os.environ["SECRET"]


def submit(jobs: Jobs, task: str, limits: Limits = SMALL, **arguments: Any) -> Job:
    return jobs.submit(f"tests.job_tasks:{task}", arguments, limits=limits)


def answer(jobs: Jobs, task: str, limits: Limits = SMALL, **arguments: Any) -> dict[str, Any]:
    return submit(jobs, task, limits, **arguments).result()


def refused(jobs: Jobs, task: str, limits: Limits = SMALL, **arguments: Any) -> WorkbenchError:
    """The error of a job; and the job after it works."""
    with pytest.raises(WorkbenchError) as caught:
        answer(jobs, task, limits, **arguments)
    assert answer(jobs, "echo", x=1)["arguments"] == {"x": 1}
    assert not any(sign in caught.value.message for sign in ("/", "Traceback", 'File "', "secret"))
    return caught.value


def gone(pids: list[int], within: float = 30.0) -> bool:
    """None of these processes runs any more; one that only waits to be reaped by init does not run."""

    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    end = time.monotonic() + within
    while any(map(runs, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_progress_and_then_the_result(jobs: Jobs) -> None:
    *progress, result = submit(jobs, "echo", word="é", number=7).events()
    assert progress == [Progress("Half of it", 0.5), Progress("Nobody knows", None)]
    assert isinstance(result, Result) and result.value["arguments"] == {"word": "é", "number": 7}
    assert not Path(result.value["folder"]).exists() and gone([result.value["pid"]])
    assert jobs.status() == {"running": 0, "waiting": 0}


def test_every_job_is_a_fork_of_one_server(jobs: Jobs) -> None:
    """So none pays for the imports."""
    servers = set()
    for _ in range(3):
        events, pids = processes(submit(jobs, "family"))
        servers.add(psutil.Process(pids[-1]).ppid())
        events.close()  # type: ignore[attr-defined]
    assert jobs._server is not None and servers == {jobs._server.pid}


@pytest.mark.parametrize("number", [4, 6, 11])
def test_a_crash(jobs: Jobs, number: int) -> None:
    error = refused(jobs, "crash", number=number)
    assert type(error) is JobFailed and f"crashed (signal {number}: " in error.message


def test_an_exit_without_an_answer(jobs: Jobs) -> None:
    assert "crashed (status 3)" in refused(jobs, "leave", status=3).message
    assert "crashed (status 0)" in refused(jobs, "leave", status=0).message


def test_a_hang(jobs: Jobs) -> None:
    error = refused(jobs, "hang", Limits(wall_seconds=1))
    assert type(error) is LimitExceeded and "the time exceeded the limit of 1 seconds" in error.message


def test_a_spin(jobs: Jobs) -> None:
    error = refused(jobs, "spin", Limits(cpu_seconds=1, wall_seconds=30))
    assert type(error) is LimitExceeded and "processor time exceeded the limit of 1 seconds" in error.message


def test_a_memory_bomb(jobs: Jobs) -> None:
    error = refused(jobs, "eat_memory")
    assert type(error) is LimitExceeded and "memory exceeded the limit of 600 MB" in error.message
    assert answer(jobs, "eat_memory_below_python", size=700 << 20) == {"got": False}
    assert answer(jobs, "eat_memory_below_python", size=200 << 20) == {"got": True}


def test_memory_that_the_kernel_refuses(jobs: Jobs) -> None:
    error = refused(jobs, "map_memory", size=1 << 50)
    assert type(error) is LimitExceeded and "memory exceeded" in error.message


def test_a_file_size_bomb(jobs: Jobs) -> None:
    error = refused(jobs, "eat_disk")
    assert type(error) is LimitExceeded and "size of a written file exceeded the limit of 32 MB" in error.message


def test_an_exception_keeps_its_words_to_itself(jobs: Jobs, capfd: pytest.CaptureFixture[str]) -> None:
    error = refused(jobs, "blow_up")
    assert type(error) is JobFailed and "failed with an internal error (RuntimeError)" in error.message


def test_what_a_task_refuses_arrives_as_it_is(jobs: Jobs) -> None:
    with pytest.raises(InvalidFile, match=r"^Not an ONNX model\.$"):
        answer(jobs, "refuse", how="file")
    with pytest.raises(InvalidValue, match=r"^symbols was 'n'; allowed: whole numbers\.$") as found:
        answer(jobs, "refuse", how="value")
    assert (found.value.field, found.value.given, found.value.allowed) == ("symbols", "n", "whole numbers")


@pytest.mark.parametrize(("what", "words"), [("nan", "ValueError"), ("object", "TypeError"), ("digits", "ValueError")])
def test_an_answer_that_is_no_json(jobs: Jobs, what: str, words: str) -> None:
    assert f"({words})" in refused(jobs, "not_json", what=what).message


def test_an_answer_that_is_too_long(jobs: Jobs) -> None:
    assert "The result has 300 MB" in refused(jobs, "too_long", Limits(memory_mb=2000)).message


@pytest.mark.parametrize("what", ["noise", "long", "deep", "list", "odd progress", "huge share", "nan share", "cut"])
def test_a_child_that_was_taken_over_sends_nonsense(jobs: Jobs, what: str) -> None:
    assert isinstance(refused(jobs, "garbage", what=what), JobFailed)


@pytest.mark.parametrize(
    "share", [10**400, -(10**400), float("nan"), float("inf"), 1.5, "0.5", [0.5]], ids=lambda share: repr(share)[:6]
)
def test_a_share_that_is_none_is_not_passed_on(share: object) -> None:
    assert _progress({"progress": "a", "share": share}) == Progress("a")


def test_a_task_that_does_not_exist(jobs: Jobs) -> None:
    assert isinstance(refused(jobs, "nothing"), JobFailed)


def test_native_output_goes_nowhere(jobs: Jobs, capfd: pytest.CaptureFixture[str]) -> None:
    answer(jobs, "shout")
    assert capfd.readouterr() == ("", "")


def test_no_secret_is_inherited(jobs: Jobs) -> None:
    seen = answer(jobs, "environment")
    assert os.environ["SECRET"] == "hf_do_not_tell"
    assert "SECRET" not in seen["os"] and "hf_do_not_tell" not in str(seen)


def test_a_job_gives_way_as_its_limits_say_and_its_children_with_it(jobs: Jobs) -> None:
    own, session = os.nice(0), os.getsid(0)  # in another session its nice would mean nothing to the app
    assert answer(jobs, "niceness", Limits(nice=7)) == {"own": own + 7, "child": own + 7, "session": session}
    left = answer(jobs, "niceness")  # the one before left nothing behind
    assert left == {"own": own, "child": own, "session": session}


def test_ctrl_c_in_the_terminal_is_not_for_jobs(jobs: Jobs) -> None:
    events, pids = processes(submit(jobs, "family"))
    assert jobs._server is not None
    assert os.getpgid(0) not in map(os.getpgid, [jobs._server.pid, *pids])
    events.close()  # type: ignore[attr-defined]


def processes(job: Job) -> tuple[Iterator[Any], list[int]]:
    events = job.events()
    pids = list(map(int, next(events).stage.split()))  # type: ignore[union-attr]
    assert len(pids) == 4 and all(map(psutil.pid_exists, pids))
    supervisor = psutil.Process(pids[0]).ppid()
    return events, [*pids, supervisor]


def test_cancel_kills_the_whole_family(jobs: Jobs) -> None:
    job = submit(jobs, "family")
    events, pids = processes(job)
    job.cancel()
    with pytest.raises(Cancelled):
        next(events)
    assert gone(pids)
    job.cancel()
    assert jobs.status()["running"] == 0


def test_leaving_early_cancels(jobs: Jobs) -> None:
    events, pids = processes(submit(jobs, "family"))
    folder = os.readlink(f"/proc/{pids[0]}/cwd")
    events.close()  # type: ignore[attr-defined]
    assert gone(pids) and not Path(folder).exists() and jobs.status()["running"] == 0


def test_the_wall_limit_kills_the_whole_family(jobs: Jobs) -> None:
    events, pids = processes(submit(jobs, "family", Limits(wall_seconds=1)))
    with pytest.raises(LimitExceeded):
        next(events)
    assert gone(pids)


def test_a_job_ends_with_its_task_and_not_with_what_that_left_running(jobs: Jobs) -> None:
    pids = answer(jobs, "family", stay=False)["pids"]
    assert gone(pids)


def test_the_queue() -> None:
    jobs = Jobs(workers=1, waiting=2, preload=("tests.job_tasks",))
    try:
        first = submit(jobs, "hang").events()
        next(first)
        second, third = submit(jobs, "echo"), submit(jobs, "echo")
        with pytest.raises(QueueFull, match="2 waiting"):
            submit(jobs, "echo")
        assert jobs.status() == {"running": 1, "waiting": 2}
        waiting = third.events()
        assert next(waiting) == Progress("Waiting, number 2 in the queue")
        second.cancel()  # nobody ever reads its events
        assert next(waiting) == Progress("Waiting, number 1 in the queue")
        with pytest.raises(Cancelled):
            second.result()
        first.close()  # type: ignore[attr-defined]
        assert isinstance(list(waiting)[-1], Result)
        assert jobs.status() == {"running": 0, "waiting": 0}
    finally:
        jobs.close()


def test_a_job_that_nobody_holds_any_more_gives_its_place_away(jobs: Jobs) -> None:
    job = submit(jobs, "echo")
    assert jobs.status()["running"] == 1
    del job
    assert jobs.status()["running"] == 0


def test_the_fork_server_dies(jobs: Jobs) -> None:
    assert answer(jobs, "echo")
    assert jobs._server is not None
    server = jobs._server.pid
    events, pids = processes(submit(jobs, "family"))
    os.kill(server, 9)
    assert answer(jobs, "echo", again=True)["arguments"] == {"again": True}
    assert jobs._server.pid != server and psutil.pid_exists(pids[0])  # a job on its way stays
    events.close()  # type: ignore[attr-defined]
    assert gone([*pids, server])


def test_a_fork_server_that_does_not_come_up() -> None:
    jobs = Jobs(workers=1, waiting=1, preload=("tests.no_such_module",))
    try:
        with pytest.raises(JobFailed, match="does not start"):
            jobs.submit("tests.job_tasks:echo", {}).result()
    finally:
        jobs.close()


def test_a_python_that_is_gone(tmp_path: Path) -> None:
    """As after somebody has removed an environment that was in use."""
    jobs = Jobs(workers=1, waiting=1, python=tmp_path / "bin" / "python")
    with pytest.raises(JobFailed, match="cannot be started: No such file or directory") as caught:
        jobs.submit("tests.job_tasks:echo", {}).result()
    assert str(tmp_path) not in caught.value.message and jobs.status()["running"] == 0
    jobs.close()


def test_close_kills_everything() -> None:
    jobs = Jobs(workers=1, waiting=1, preload=("tests.job_tasks",))
    events, pids = processes(submit(jobs, "family"))
    assert jobs._server is not None
    pids.append(jobs._server.pid)
    jobs.close()
    with pytest.raises(Cancelled):
        next(events)
    assert gone(pids)


def test_the_app_is_killed() -> None:
    app = subprocess.Popen([sys.executable, "-c", APP], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    pids = list(map(int, app.stdout.readline().split()))
    pids.append(psutil.Process(pids[0]).ppid())
    assert len(pids) == 6 and all(map(psutil.pid_exists, pids))
    folder = Path(f"/proc/{pids[0]}/cwd").readlink()
    app.kill()
    app.wait()
    assert gone(pids) and not folder.exists()


def test_the_supervisor_is_killed(jobs: Jobs) -> None:
    events, pids = processes(submit(jobs, "family"))
    os.kill(pids[-1], 9)
    with pytest.raises(JobFailed, match="was lost"):
        next(events)
    assert gone(pids[:1])
    for pid in pids[1:-1]:  # strays of a killed supervisor are nobody's: init has them
        if psutil.pid_exists(pid):
            os.kill(pid, 9)
