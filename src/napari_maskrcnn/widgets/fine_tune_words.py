"""What a run's figures say, in sentences; no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_maskrcnn.core.progress import duration

if TYPE_CHECKING:
    from napari_maskrcnn.viewer.before_after import Outcome
    from napari_maskrcnn.viewer.fine_tuning_records import Trained

FIGURES = {
    "ap50": "AP at IoU 0.5",
    "ap75": "AP at IoU 0.75",
    "ap50_any_class": "AP at IoU 0.5, any class",
    "score_threshold": "Score threshold",
}
# A fall of AP at IoU 0.5 that counts as such.
FORGOTTEN = 0.03


def verdict(outcome: Trained) -> str:
    """Say whether the new model is better, and by how much."""
    before, after = outcome.before.get("ap50", 0.0), outcome.after.get("ap50", 0.0)
    change = f"AP at IoU 0.5 was {before:.2f} and is {after:.2f} on what was held out"
    if not outcome.better:
        return f"Not better: {change}. The old model stays"
    gain = after - before
    if gain < 0.005:
        return f"A little better: {change}. Use it?"
    return f"Better by {gain:.2f}: {change}. Use it?"


def details(outcome: Trained) -> list[str]:
    """Return the other figures, and how the run went, in lines."""
    lines = []
    for key in outcome.after:
        if key != "ap50" and key in outcome.before:
            name = FIGURES.get(key, key)
            before, after = outcome.before[key], outcome.after[key]
            lines.append(f"{name}: {before:.2f}, then {after:.2f}")
    if "ap50" in outcome.replay_after:
        before, after = outcome.replay_before["ap50"], outcome.replay_after["ap50"]
        change = "forgotten" if before - after >= FORGOTTEN else "not forgotten"
        lines.append(f"On the replay images: {before:.2f}, then {after:.2f} ({change})")
    lines.append(
        f"{outcome.steps} steps in {duration(outcome.seconds)} ({outcome.ended}); "
        f"the best was step {outcome.best_step}"
    )
    return lines


def counts(seen: Outcome) -> str:
    """Return how many objects are right, wrong and missed."""
    return f"{seen.right} right, {seen.wrong} wrong, {seen.missed} missed"
