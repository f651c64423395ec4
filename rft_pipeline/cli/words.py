"""Numbers and untrusted texts, as the terminal shows them."""


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def change(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def gate(value: float | None) -> str:
    return "" if value is None else f"≥ {value}"


def preference_line(said: str, p: float) -> str:
    """What people prefer, with the sign test."""
    return f"{said[:1].upper()}{said[1:]}, sign test p = {p:.2g}"


def printable(text: str) -> str:
    """The text without control characters, which could change the terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def plain(text: str, longest: int) -> str:
    """An untrusted text: printable, on one line, and cut to `longest` characters."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
