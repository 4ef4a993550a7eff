"""COCO: out and back without losing a pixel."""
