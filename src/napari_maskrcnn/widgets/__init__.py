"""The dock widgets, one file each."""
