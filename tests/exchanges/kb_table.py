"""Reads a table of a KB page, so that a test can compare it with the code."""

from pathlib import Path


def table_under(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of the first table under `## heading`, without marks of code."""
    section = page.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
