from pathlib import Path
def test_x(finished: Path) -> None:
    assert 0
