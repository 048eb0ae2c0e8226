"""Assembling trees from npm tarballs: each tarball is read once for all the trees that it is in.

Processes do the work. Threads were measured and gain nothing: the time goes to many small files, and
Python's lock is held between them. A worker lives as long as its pipe, so none outlives the program,
whatever ends that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, cast

from opencode_cache.base.errors import BadInputError, OpencodeCacheError
from opencode_cache.build.unpack.destination import DIRECTORY_MODE, MTIME
from opencode_cache.build.unpack.extract import Policy, Stats, Target, extract

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from opencode_cache.formats.lock import Package

__all__ = ["Job", "Stats", "assemble", "unpack"]

_MOST_WORKERS = 8
"""More than these wait for the disk."""
_WORTH_A_WORKER = 1 << 20
"""Packed bytes; starting a process takes as long as unpacking about that much."""


@dataclass(frozen=True)
class Job:
    """What goes to one directory. `whole`: a tool, of which only source maps are left out."""

    package: Package
    whole: bool = False
    declarations: bool = False
    """Whether `.d.ts` files stay as well, for people who write TypeScript against the package."""


def unpack(
    package: Package,
    tarball: Path,
    destinations: Sequence[Path],
    *,
    keep_all: bool,
    whole: bool = False,
    declarations: bool = False,
) -> Stats:
    """Unpack one tarball into each of the destinations, reading it once.

    `keep_all` keeps every file, `whole` all but source maps, `declarations` the `.d.ts` files too. A
    destination may exist, for the packages nested in it. Raises BadInputError, with the package and the
    file, where the tarball is missing, damaged (its sha512 included), or hostile, and where a destination
    cannot be written; what is already written then stays, without a `package.json`, for the caller to
    remove.
    """
    policy = _policy(keep_all=keep_all, whole=whole, declarations=declarations)
    return extract(package, tarball, dict.fromkeys(destinations, Target(policy)))


def assemble(
    jobs: Mapping[Path, Job],
    tarballs: Path,
    *,
    keep_all: bool,
    on_done: Callable[[Package], None] | None = None,
    workers: int | None = None,
) -> Stats:
    """Unpack every job's package into the job's directory; `tarballs` holds files named `Package.tarball`.

    `on_done` is called in this thread for each package, in no order. A package may lie in another one's
    directory; what the outer tarball has at that place gives way. Raises as `unpack` does, once all workers
    have stopped; the directories are then unfinished and the caller's to remove.
    """
    created = _make_directories(jobs)
    homes = _homes(jobs)
    targets: dict[str, dict[Path, Target]] = {}
    packages: dict[str, Package] = {}
    for path, job in jobs.items():
        policy = _policy(keep_all=keep_all, whole=job.whole, declarations=job.declarations)
        packages[job.package.key] = job.package
        targets.setdefault(job.package.key, {})[path] = Target(policy, frozenset(homes.get(path, ())))
    lengths = {key: _length(tarballs / package.tarball) for key, package in packages.items()}
    # The longest first, so that no worker is left alone with it at the end.
    tasks = [
        (packages[key], tarballs / packages[key].tarball, targets[key])
        for key in sorted(lengths, key=lambda key: (-lengths[key], key))
    ]
    most = workers or min(_MOST_WORKERS, os.cpu_count() or 1, 1 + sum(lengths.values()) // _WORTH_A_WORKER)
    total = Stats()
    with closing(_work(tasks, min(most, len(tasks)))) as results:
        for package, stats in results:
            total += stats
            if on_done:
                on_done(package)
    for path in created:
        os.utime(path, (MTIME, MTIME))
    return total


def _policy(*, keep_all: bool, whole: bool, declarations: bool) -> Policy:
    if keep_all:
        return Policy.ALL
    if whole:
        return Policy.WHOLE
    return Policy.DECLARED if declarations else Policy.LOADABLE


def _length(tarball: Path) -> int:
    """Its length in bytes, 0 where it is missing: whoever reads it says so."""
    try:
        return tarball.stat().st_size
    except OSError:
        return 0


def _make_directories(jobs: Mapping[Path, Job]) -> list[Path]:
    """Make the directories of all jobs; returns them and the ones made on the way, inner ones first."""
    mine = set()
    for path in jobs:
        missing = path
        while missing not in mine and (missing in jobs or not missing.exists()):
            mine.add(missing)
            missing = missing.parent
    try:
        for path in sorted(mine):
            path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            path.chmod(DIRECTORY_MODE)
    except OSError as error:
        raise BadInputError(
            f"{error.filename}: the directory cannot be made ({error.strerror}); choose another place"
        ) from error
    return sorted(mine, reverse=True)


def _homes(jobs: Mapping[Path, Job]) -> dict[Path, list[str]]:
    """For each job's directory the jobs' directories below it, as paths relative to it."""
    homes: dict[Path, list[str]] = {}
    for path in jobs:
        for parent in path.parents:
            if parent in jobs:
                homes.setdefault(parent, []).append(path.relative_to(parent).as_posix())
    return homes


_Task = tuple["Package", "Path", "dict[Path, Target]"]


def _work(tasks: list[_Task], workers: int) -> Generator[tuple[Package, Stats]]:
    """Do the tasks, the first ones first, and yield each one's result as it comes."""
    if workers <= 1:
        for task in tasks:
            yield task[0], extract(*task)
        return
    waiting = iter(tasks)
    with _crew(workers) as crew:
        busy: dict[Connection, _Task] = {}
        free = list(crew)
        while free or busy:
            for pipe, task in zip(list(free), waiting, strict=False):
                with _alive(task[0]):
                    pipe.send(task)
                free.remove(pipe)
                busy[pipe] = task
            if not busy:
                return
            for pipe in cast("list[Connection]", wait(list(busy))):
                package = busy.pop(pipe)[0]
                yield package, _answer(pipe, package)
                free.append(pipe)


@contextmanager
def _alive(package: Package) -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise BadInputError(
            f"{package.key}: the process that was to unpack it was killed; "
            "see whether memory ran out and start again"
        ) from error


def _answer(pipe: Connection, package: Package) -> Stats:
    with _alive(package):
        answer = pipe.recv()
    if isinstance(answer, Stats):
        return answer
    raise answer


@contextmanager
def _crew(workers: int) -> Iterator[list[Connection]]:
    """Worker processes, each by its pipe; gone when the context ends, at once if it ends with an error."""
    # macOS's own libraries do not survive a fork, and a spawned worker is only slower to start.
    linux = sys.platform == "linux"
    context = multiprocessing.get_context("fork") if linux else multiprocessing.get_context("spawn")
    crew: list[Connection] = []
    processes: list[BaseProcess] = []
    # Ctrl-C reaches the whole process group. The workers inherit the block: only this process deals with it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            processes.append(context.Process(target=_serve, args=(theirs, [*crew, ours]), daemon=True))
            processes[-1].start()
            theirs.close()
            crew.append(ours)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield crew
    except BaseException:
        for started in processes:
            if started.pid is not None:
                started.kill()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for pipe in crew:
            pipe.close()
        for started in processes:
            if started.pid is not None:
                started.join()


def _serve(pipe: Connection, others: Sequence[Connection]) -> None:
    """A worker's life: one task after the other, until the other end of the pipe is closed."""
    for other in others:
        other.close()  # A copy of the other end, kept here, would keep this end open for ever.
    try:
        while True:
            task = pipe.recv()
            try:
                pipe.send(extract(*task))
            except OpencodeCacheError as error:
                pipe.send(error)
            except Exception:  # noqa: BLE001 - a defect, which the main process has to show
                pipe.send(RuntimeError(traceback.format_exc()))
    except (EOFError, OSError):
        # No clean-up: the standard streams and their locks are copies of the main process's.
        os._exit(0)
