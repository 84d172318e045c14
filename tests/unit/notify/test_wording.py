"""Words: languages, values, links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.domain.pack_check import check
from services.notify.domain import page_link
from services.notify.domain.wording import Person, Setting, choose, values
from services.notify.smtp import address
from services.notify.smtp.server import plain
from shared.contracts.pack.notifications import VARIABLES, Notifications, Template
from shared.settings import SettingsError
from shared.templates import Compiled

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PACK = Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml"


def section() -> Notifications:
    return Notifications.model_validate(check(PACK.read_text()).sections["notifications"])


def setting(**changes: Any) -> Setting:
    given: dict[str, Any] = {
        "recipient": Person(name="Mia"),
        "people": {},
        "desk_name": "Acme",
        "sender": "Acme Support",
        "phone": "",
        "timezone": "Europe/Berlin",
        "now": NOON,
        "ticket_url": "https://desk.example/t",
    }
    return Setting(**(given | changes))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (("de-AT",), "de"),
        (("pt",), "pt-BR"),
        (("PT-br",), "pt-BR"),
        ((None, "xx", "de"), "de"),
        (("xx",), "en"),
        ((), "en"),
    ],
)
def test_a_language_falls_back_to_its_kin_then_to_the_next_wanted(wanted: tuple[str | None, ...], chosen: str) -> None:
    words = {language: {"subject": "s", "text": "t"} for language in ("en", "de", "pt-BR")}
    assert choose(Template.model_validate({"words": words}), wanted)[0] == chosen


def shape(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: shape(part) for name, part in value.items()}
    return None


def test_values_have_the_shape_that_templates_are_checked_against() -> None:
    found = values({}, setting())
    wanted = {name: (part if not isinstance(part, Mapping) else dict(part)) for name, part in VARIABLES.items()}

    def same(made: object, told: object) -> bool:
        if isinstance(told, Mapping):
            return isinstance(made, Mapping) and set(made) == set(told) and all(same(made[k], told[k]) for k in told)
        if isinstance(told, list):
            return isinstance(made, list)
        return isinstance(made, (str, int, float, bool))

    assert same(found, wanted)


def test_instants_stand_in_the_readers_zone_and_labels_where_ranks_are() -> None:
    facts = {
        "ticket": {"number": "INC-1", "priority": {"rank": 1, "label": "P1"}, "eta_at": "2026-07-01T10:00:00Z"},
        "clock": {"due_at": "", "name": "first response"},
    }
    found: Any = values(facts, setting())
    assert found["ticket"]["priority"] == "P1"
    assert found["ticket"]["eta_at"] == "2026-07-01 12:00 CEST"
    assert found["clock"]["due_at"] == ""
    assert found["now"] == "2026-03-02 13:00 CET"
    utc: Any = values(facts, setting(timezone="Nowhere/At all"))
    assert utc["now"] == "2026-03-02 12:00 UTC"


def test_every_template_of_the_default_pack_can_be_filled_in_whatever_is_missing() -> None:
    for name, template in section().templates.items():
        for language, words in template.words.items():
            for source, html in ((words.subject, False), (words.text, False), (words.html, True)):
                if source is not None:
                    filled = Compiled(source, html=html).fill(values({}, setting()))
                    assert "None" not in filled, (name, language)
                    assert "{{" not in filled


def test_what_people_wrote_is_escaped_in_html() -> None:
    words = section().templates["reply"].words["en"]
    assert words.html is not None
    filled = Compiled(words.html, html=True).fill(values({}, setting(text="<img src=x>\n& more")))
    assert "&lt;img src=x&gt;<br>" in filled
    assert "<img" not in filled


def test_the_seeds_words_are_in_the_default_pack() -> None:
    templates = section().templates
    resolution, incident = templates["resolution"].words["en"], templates["incident"].words["en"]
    assert "Has Been Resolved" in resolution.subject
    assert "We're pleased to inform you that your support ticket" in resolution.text
    assert incident.subject.startswith("URGENT: Service Incident")
    assert "Status Updates:" in incident.text
    assert "Status Updates:" in templates["status"].words["en"].text


# -- links and addresses ------------------------------------------------------------------------------------------------

KEY = page_link.key_of(b"k" * 32)


@given(page=st.uuids(), place=st.integers(0, 42), letter=st.characters(codec="ascii"))
def test_a_pages_link_is_good_for_that_page_and_unchanged_only(page: UUID, place: int, letter: str) -> None:
    token = page_link.make(KEY, page)
    assert page_link.verify(KEY, token) == page
    changed = token[:place] + letter + token[place + 1 :]
    assert page_link.verify(KEY, changed) == (page if changed == token else None)
    assert page_link.verify(page_link.key_of(b"x" * 32), token) is None


@given(st.text(max_size=60))
def test_no_text_at_all_breaks_the_reading_of_a_link(text: str) -> None:
    assert page_link.verify(KEY, text) is None


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "starttls", "username"),
    [
        ("smtp://mail.example", "mail.example", 25, False, False, None),
        ("smtps://u%40x:p%2Fw@mail.example", "mail.example", 465, True, False, "u@x"),
        ("smtp+starttls://u:p@[::1]:2525", "::1", 2525, False, True, "u"),
    ],
)
def test_the_mail_servers_address(  # noqa: PLR0917 - a table
    url: str, host: str, port: int, tls: bool, starttls: bool, username: str | None
) -> None:
    found = address.read(url)
    assert found is not None
    assert (found.host, found.port, found.tls, found.starttls, found.username) == (host, port, tls, starttls, username)


@pytest.mark.parametrize("url", ["http://mail.example", "smtp://x:99999", "smtp://x/path", "mail.example"])
def test_another_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        address.read(url)
    assert url not in str(caught.value)


def test_an_answer_is_kept_without_addresses_and_line_ends() -> None:
    assert plain(550, "5.1.1 <mia@x.example>:\r\n no such\x00user") == "550 5.1.1 … no such user"
    assert len(plain(250, "x" * 500)) == 200
