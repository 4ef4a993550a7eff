"""From Labels layers to COCO files: first what would be written, then writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core.coco import split, write_planes, write_steps
from napari_maskrcnn.core.progress import Progress, relay
from napari_maskrcnn.viewer.export_plan import Plan, planned
from napari_maskrcnn.viewer.export_report import Report, make_report

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_maskrcnn.core.coco import WriteSummary
    from napari_maskrcnn.viewer.export_request import Request


def examine(request: Request) -> Generator[Progress, None, Report]:
    """Return what `export` would write; nothing is written.

    Raises
    ------
    ValueError
        What `export` raises.
    """
    plan = yield from planned(request)
    summaries = yield from _written(request, plan, rehearse=True)
    return make_report(plan.images, summaries, plan.targets(), plan.remarks)


def export(request: Request) -> Generator[Progress, None, Report]:
    """Write the images, then the COCO file; stopped or failed, the new images go.

    Raises
    ------
    ValueError
        If there is nothing to write, the layers do not fit together, or a file that
        does not belong to the data set would be replaced.
    OSError
        If a file cannot be written.
    """
    plan = yield from planned(request)
    folder = request.path.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    fresh = [path for path in plan.targets() if not path.exists()]
    complete = False
    try:
        for task in plan.tasks:
            yield from write_planes(
                folder, task.data, task.images, bits=16 if task.deep else 8
            )
        summaries = yield from _written(request, plan, rehearse=False)
        complete = True
    finally:
        if not complete:
            for path in fresh:
                path.unlink(missing_ok=True)
    return make_report(plan.images, summaries, plan.targets(), plan.remarks)


def _written(
    request: Request, plan: Plan, *, rehearse: bool
) -> Generator[Progress, None, list[WriteSummary]]:
    """Write the COCO files, or do all but that."""
    parts = [plan.images]
    if request.validation is not None:
        parts = list(
            split(plan.images, validation=request.validation, seed=request.seed)
        )
    done = 0
    summaries = []

    def record() -> Progress:
        nonlocal done
        done += 1
        message = "Checking" if rehearse else "Writing"
        return Progress(done, len(plan.images), message)

    for path, images in zip(request.files(), parts, strict=True):
        work = write_steps(
            path,
            images,
            mode=request.mode,
            categories=plan.categories,
            append=request.append,
            rehearse=rehearse,
        )
        summaries.append((yield from relay(work, record)))
    return summaries
