"""The pure core: arrays in, frozen records out; no napari and no Qt."""
