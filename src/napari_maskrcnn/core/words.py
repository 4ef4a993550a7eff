"""Numbers in words, for sentences to a person."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: "1 object", "1,200 objects".

    Parameters
    ----------
    number : int
        How many.
    noun : str
        In the singular; the plural is regular.
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
