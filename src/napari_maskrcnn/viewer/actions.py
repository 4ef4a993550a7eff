"""The table of actions: what a button, a key, a tooltip and the guide say of each.

napari's own keys for Labels layers and for the viewer are not to be used again; a test
compares.  The keys are bound to Labels layers only (see `viewer.keys`), so those of
other kinds of layers stay free.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person can do.

    Parameters
    ----------
    name : str
        How the program calls it.
    title : str
        What the button says.
    key : str
        As napari writes it, such as "Shift-G"; empty for none.
    tip : str
        One sentence for the tooltip and the guide, without the key.
    group : str
        The part of the guide that it belongs to.
    """

    name: str
    title: str
    key: str
    tip: str
    group: str

    @property
    def tooltip(self) -> str:
        """The tip with the key."""
        return f"{self.tip} [{self.key}]" if self.key else self.tip


ACTIONS = (
    Action(
        "merge",
        "Merge",
        "J",
        "Join the selected objects; with one selected, click the objects to add to it",
        "Edit",
    ),
    Action(
        "split_line",
        "Split by line",
        "K",
        "Draw a line across an object to cut it in two",
        "Edit",
    ),
    Action(
        "split_parts",
        "Split into",
        "Shift-K",
        "Cut the selected object at its waists into so many parts",
        "Edit",
    ),
    Action("delete", "Delete", "D", "Delete the selected objects", "Edit"),
    Action(
        "fill_holes",
        "Fill holes",
        "H",
        "Fill the holes of the selected objects",
        "Edit",
    ),
    Action(
        "keep_largest",
        "Largest part",
        "O",
        "Keep only the largest part of each selected object",
        "Edit",
    ),
    Action(
        "grow",
        "Grow",
        "G",
        "Grow the selected objects by a pixel, never over others",
        "Edit",
    ),
    Action(
        "shrink", "Shrink", "Shift-G", "Shrink the selected objects by a pixel", "Edit"
    ),
    Action(
        "smooth", "Smooth", "S", "Smooth the outlines of the selected objects", "Edit"
    ),
    Action(
        "draw",
        "New outline",
        "T",
        "Draw round a new object, or click its corners",
        "Edit",
    ),
    Action(
        "brush",
        "New by brush",
        "Shift-T",
        "Paint a new object with the brush, under the next free id",
        "Edit",
    ),
    Action(
        "approve",
        "Approve",
        "A",
        "Approve the selected objects and go to the next that is not reviewed",
        "Review",
    ),
    Action("reject", "Reject", "R", "Delete the selected objects and go on", "Review"),
    Action("next", "Next", "N", "Go to the next object of the table", "Review"),
    Action("previous", "Previous", "Shift-N", "Go to the object before it", "Review"),
    *(
        Action(
            f"class_{number}",
            f"Class {number}",
            f"Alt-{number}",
            "Give the selected objects this class of the list",
            "Classes",
        )
        for number in range(1, 10)
    ),
    Action("undo", "Undo", "Control-Z", "Take the last step back", "napari"),
    Action("redo", "Redo", "Control-Shift-Z", "Make the step again", "napari"),
)


def actions_of(group: str) -> tuple[Action, ...]:
    """Return the actions of a group, in their order."""
    return tuple(action for action in ACTIONS if action.group == group)


def action_named(name: str) -> Action:
    """Return an action.

    Raises
    ------
    ValueError
        When there is none of this name.
    """
    for action in ACTIONS:
        if action.name == name:
            return action
    raise ValueError(f"there is no action {name!r}")


def key_table(group: str) -> str:
    """Return the Markdown table of a group's keys, as the guide has it."""
    lines = ["| key | button | what it does |", "|---|---|---|"]
    lines += [
        f"| `{action.key}` | {action.title} | {action.tip} |"
        for action in actions_of(group)
    ]
    return "\n".join(lines)
