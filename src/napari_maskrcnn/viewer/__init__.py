"""The napari side without widgets: session, work, layers, contributions."""
