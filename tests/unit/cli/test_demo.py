"""What the demo is made of, apart from the installation it plays against."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from cli.demo.mailbox import letters
from cli.demo.sink import Sink
from cli.demo.stage import Addresses, Stage
from cli.demo.story import emergency, outage
from cli.demo.timelapse import merged
from cli.demo.topics import Topics
from cli.seed import DEFAULT_PACK
from services.directory.domain.pack_check import check

ROOT = Path(__file__).parents[3]
OTHERS = {"deploy/policies/timelapse.yaml": "sla", "bench/pack.yaml": "assignment", "bench/hurried.yaml": "sla"}
"""Each pack, and a section it is there for."""


def test_a_section_of_the_other_pack_replaces_its_own_and_nothing_else() -> None:
    pack = "# head\npack: a\n\n# one\none:\n  x: 1  # why\n# two\ntwo: {}\n"
    told = merged(pack, "two:\n  y: 2\nthree: {}\n")
    assert "x: 1  # why" in told
    assert "y: 2" in told
    assert "two: {}" not in told
    assert "three" not in told


@pytest.mark.parametrize(("other", "section"), OTHERS.items())
def test_a_rehearsals_pack_is_fit_to_be_published_and_differs(other: str, section: str) -> None:
    default = DEFAULT_PACK.read_text(encoding="utf-8")
    made = check(merged(default, (ROOT / other).read_text(encoding="utf-8")))
    plain = check(default)
    assert made.sections["workflow"] == plain.sections["workflow"]
    assert made.sections[section] != plain.sections[section]


def test_letters_of_a_folder_are_its_eml_files_and_every_message_of_its_mboxes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.eml").write_bytes(b"From: A <a@x.example>\r\n\r\nhello")
    (tmp_path / "b.mbox").write_bytes(
        b"From - Thu Jan  1 00:00:00 2026\nFrom: b@x.example\n\none\n\n"
        b"From - Thu Jan  1 00:00:01 2026\nFrom: c@x.example\n\ntwo\n"
    )
    (tmp_path / "notes.txt").write_text("not a mail")
    found = list(letters(tmp_path))
    assert [letter.sender for letter in found] == ["b@x.example", "c@x.example", "a@x.example"]


def test_a_letter_without_a_readable_sender_has_the_null_sender(tmp_path: Path) -> None:
    (tmp_path / "x.eml").write_bytes(b"Subject: no from\r\n\r\nhello")
    (letter,) = letters(tmp_path / "x.eml")
    assert letter.sender == ""


def test_the_reports_of_the_outage_come_from_three_people_in_three_wordings() -> None:
    assert len({sender for sender, _, _ in outage.REPORTS}) == len({text for *_, text in outage.REPORTS}) == 3
    assert emergency.SENDER not in {sender for sender, _, _ in outage.REPORTS}


@pytest.mark.parametrize(("status", "patience", "asked"), [(503, 20, 3), (503, 0, 2), (500, 20, 1)])
async def test_a_service_that_is_busy_is_asked_again_and_a_broken_one_is_not(
    status: int, patience: float, asked: int
) -> None:
    async with httpx2.AsyncClient() as client:
        addresses = Addresses(origin="", smtp_host="", smtp_port=1, sink="", hooks="", tenant="", support="", key="")
        stage = Stage(
            addresses=addresses, client=client, topics=Topics("a"), sink=Sink(client, 0, 0), say=print, run="one"
        )
        answers: list[int] = []

        async def ask() -> str | None:
            answers.append(status if len(answers) < 2 else 200)
            answer = httpx2.Response(answers[-1], request=httpx2.Request("GET", "http://a.example"))
            answer.raise_for_status()
            return "there"

        if asked == 3:
            assert await stage.eventually(ask, "an answer", patience) == "there"
        else:
            with pytest.raises(httpx2.HTTPStatusError):
                await stage.eventually(ask, "an answer", patience)
    assert len(answers) <= asked
