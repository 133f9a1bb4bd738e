"""What the double's pages tell a newcomer to type works as it is printed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.tour import Piece, Tour, pieces

ROOT = Path(__file__).parents[3]
README = (ROOT / "lab" / "README.md").read_text()
STORM = (ROOT / "docs" / "lab" / "storm.md").read_text()
SCHEDULES = (ROOT / "docs" / "lab" / "schedules.md").read_text()


def part(markdown: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    return markdown.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def free_ports(many: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    ports = [int(each.getsockname()[1]) for each in taken]
    for each in taken:
        each.close()
    return ports


def typed(folder: Path, markdown: str) -> None:
    """Type all of it, on ports that are free here."""
    double, handler = free_ports(2)
    here = {"12111": str(double), "8000": str(handler), "serve --clock": f"serve --port {double} --clock"}
    with Tour(folder, here, {"MILLRACE_LAB": f"http://127.0.0.1:{double}"}) as tour:
        for piece in pieces(markdown):
            tour.take(piece)


def test_five_minutes(tmp_path: Path) -> None:
    typed(tmp_path, part(README, "Five minutes"))
    assert (tmp_path / "shop.lab").exists(), "the account is written when the double stops"


def test_in_your_own_tests(tmp_path: Path) -> None:
    typed(tmp_path, part(README, "In your own tests"))


@pytest.mark.parametrize("page", [SCHEDULES, STORM], ids=["schedules", "storm"])
def test_a_page_of_the_docs(page: str, tmp_path: Path) -> None:
    typed(tmp_path, page)


HELLO = "```sh\necho hello\n```\n\n```text\n{}\n```\n"


@pytest.mark.parametrize(
    ("printed", "right"), [("hello", True), ("h…o", True), ("hallo", False), ("hello you", False)]
)
def test_output_that_is_not_as_printed_is_found_out(printed: str, right: bool, tmp_path: Path) -> None:
    told = list(pieces(HELLO.format(printed)))
    assert [each.kind for each in told] == ["sh", "text"]
    with Tour(tmp_path, {}, {}) as tour:
        tour.take(told[0])
        if right:
            tour.take(told[1])
        else:
            with pytest.raises(AssertionError, match="hello"):
                tour.take(told[1])


def test_a_command_that_fails_is_found_out(tmp_path: Path) -> None:
    with Tour(tmp_path, {}, {}) as tour, pytest.raises(AssertionError, match="No such file"):
        tour.take(Piece("sh", "", "ls nowhere\necho went on\n"))
