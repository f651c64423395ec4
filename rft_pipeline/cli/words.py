"""Numbers and untrusted texts as they stand on the terminal."""


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def change(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def printable(text: str) -> str:
    """Without control characters: a completion must not steer the terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def plain(text: str, longest: int) -> str:
    """A text that nobody vouches for, printable, on one line and cut."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
