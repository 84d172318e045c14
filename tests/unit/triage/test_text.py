"""What of a mail is its writer's own, and in which words."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.triage.domain.language import detect
from services.triage.domain.text import MAX_CHARS, fold, own_words, tokens


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("We need a new key.\n\n-- \nEmergency Response Team", "we need a new key."),
        ("We need a new key, thank you.\n\nBest regards,\nTom\nEmergency Response", "we need a new key, thank you."),
        ("Wir brauchen einen Schlüssel.\nMit freundlichen Grüßen\nNotfall GmbH", "wir brauchen einen schlussel."),
        ("Nous avons besoin d'une clé.\nCordialement,\nUrgence SARL", "nous avons besoin d'une cle."),
        ("It works again.\n\nOn Mon, 2 Mar 2026, Ana wrote:\n> everything is down", "it works again."),
        (
            "Läuft wieder.\n\nAm 2. März 2026 um 9:12 schrieb Ana\n<ana@x.example>:\n\nalles ist ausgefallen",
            "lauft wieder.",
        ),
        ("Danke, läuft.\n\nVon: Ana\nGesendet: Montag\nAn: Support\n\nNotfall!", "danke, lauft."),
        ("Fine now.\n-----Original Message-----\nEmergency!", "fine now."),
        ("> it is urgent\n\nNo, it is not.\n> really?\nYes.", "no, it is not.\n\nyes."),
        ("All good here with us.\nSent from my Emergency Phone", "all good here with us."),
        ("All good here with us.\nThis e-mail is confidential, notify us immediately.", "all good here with us."),
        ("All good here with us.\nThanks\nTom\nPS: emergency!", "all good here with us.\n\nps: emergency!"),
        ("Thanks,\nbut the printer is broken again", "thanks,\nbut the printer is broken again"),
    ],
)
def test_quotes_signatures_and_legal_notices_are_not_the_writers_words(text: str, left: str) -> None:
    assert own_words(fold(text)).strip() == left


def test_a_forwarded_mail_is_what_it_forwards() -> None:
    text = "FYI\n\n---------- Forwarded message ---------\nFrom: Ana\nDate: Monday\n\nEverything is down."
    assert "everything is down" in own_words(fold(text))


def test_a_mail_of_nothing_but_quotes_is_read_whole() -> None:
    assert "everything is down" in own_words(fold("> everything is down"))


def test_words_are_the_same_whatever_their_case_accents_and_hyphens() -> None:
    assert tokens(fold("DÉBITÉ")) == tokens(fold("de\u0301bite\u0301")) == ["debite"]
    assert tokens(fold("log-in can't Straße erlmcp_core")) == ["log", "in", "can", "t", "strasse", "erlmcp", "core"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Since this morning we cannot reach the portal.", "en"),
        ("Seit heute Morgen ist das Portal nicht erreichbar.", "de"),
        ("Desde esta mañana no podemos entrar en el portal.", "es"),
        ("Depuis ce matin, nous n'avons plus accès au portail.", "fr"),
        ("Desde hoje de manhã não conseguimos entrar no portal.", "pt"),
        ("Da stamattina non riusciamo a entrare nel portale.", "it"),
        ("Sinds vanochtend kunnen wij het portaal niet bereiken.", "nl"),
        ("С утра не можем войти в систему, помогите пожалуйста.", "ru"),
        ("今朝からシステムに接続できません。", "ja"),
        ("Hello", None),
        ("Test 12345", None),
        ("", None),
    ],
)
def test_the_language_is_told_where_there_is_enough_text(text: str, language: str | None) -> None:
    assert detect(text, tokens(fold(text))) == language


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    folded = fold(text)
    assert all(tokens(own_words(folded)))
    detect(text, tokens(folded))


@pytest.mark.parametrize(
    "text",
    [
        "on monday " * 1600,
        "thanks " + "a" * MAX_CHARS,
        "from: " * 2600,
        "> " * 8000,
        "-- " * 5000,
        "\n" * MAX_CHARS,
        " \t" * 8000,
        "wrote " * 2600,
        ("on " + "x" * 190 + "\n") * 80,
        "thanks, " * 2000,
        "this message " * 1200,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    tokens(own_words(fold(text[:MAX_CHARS])))
    assert time.process_time() - began < 0.25, "typically some milliseconds"
