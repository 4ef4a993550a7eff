"""Numbers and errors in words, for sentences to a person."""

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


def one_line(error: BaseException) -> str:
    """Return what an exception says, in one line; "" when it says nothing.

    Errors of the system come without their number, with the name of the file behind.
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = ": ".join(str(x) for x in (error.strerror, error.filename) if x)
    return " ".join(text.split())
