"""Files that travel with the program."""

from pathlib import Path

DEMO = Path(__file__).parent / "demo"
PAGE = Path(__file__).parent / "page"
RESULTS = Path(__file__).parent / "results"
