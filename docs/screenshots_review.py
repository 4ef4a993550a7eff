"""Make the screenshots of the Review widget by driving a real viewer.

    python docs/screenshots_review.py [--out docs/images]

Needs a display; without one: ``xvfb-run -a python docs/screenshots_review.py``.
"""

from __future__ import annotations

from typing import Any

import screenshot_stage as stage  # isort: skip  # before napari

from napari.qt import get_qapp

from napari_maskrcnn.viewer.layers import unwrap


def segmented(viewer: Any) -> Any:
    """Segment the sample nuclei with the bundled model; return the Labels layer."""
    segment = stage.dock(viewer, "Segment")
    viewer.open_sample("napari-maskrcnn", "nuclei")
    image = viewer.layers["nuclei"]
    stage.click(segment.run_button)
    stage.wait_for(segment.session.jobs)
    viewer.window.remove_dock_widget(segment)
    return segment.session.results.labels_of(unwrap(image))


def main() -> None:
    """Make all pictures."""
    out = stage.parser(__doc__).parse_args().out
    viewer = stage.new_viewer((1280, 900))
    labels = segmented(viewer)
    widget = stage.dock(viewer, "Review", 350)

    def picture(name: str) -> None:
        stage.rest(600)
        stage.take(viewer, out / f"review-{name}.png")

    stage.click(widget.list.next_button)
    for _ in range(4):
        stage.click(widget.decide_bar.approve_button)
    viewer.reset_view()
    picture("queue")
    widget.classes.name_edit.setText("dividing")
    stage.click(widget.classes.add_button)
    widget.table.select(widget.model.ids[3:14].tolist())
    widget.set_class("dividing")
    widget.table.select(widget.model.ids[6:7].tolist())
    widget.classes.colour_box.click()
    viewer.reset_view()
    picture("classes")
    del labels
    viewer.close()
    get_qapp().quit()


if __name__ == "__main__":
    main()
