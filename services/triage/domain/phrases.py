"""A pack's phrases as sequences of places, each with the words that may stand there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from services.triage.domain.text import fold, tokens, written_together
from shared.contracts.pack.triage import GAP, TriageRules, Words

WORDS_IN_GAP = 3


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a phrase stands for."""

    kind: str
    """`signal`, `product`, `topic`, `people`."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What may stand at one place of a phrase."""

    words: frozenset[str]
    beginnings: tuple[str, ...] = ()
    gap: int = 0
    """So many other words may come before it, none of them a denial."""

    def takes(self, word: str) -> bool:
        """Whether this word may stand here."""
        return word in self.words or (bool(self.beginnings) and word.startswith(self.beginnings))


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sequence of places, and what it stands for."""

    meaning: Meaning
    language: str
    """Empty for names, which are the same in every language."""
    places: tuple[Place, ...]
    soon: frozenset[str] | None
    """One of these follows the first word shortly; None where that cannot be said in advance."""

    @classmethod
    def of(cls, meaning: Meaning, language: str, places: tuple[Place, ...]) -> Phrase:
        """The phrase of these places."""
        known = len(places) > 1 and not places[1].beginnings and places[1].gap <= WORDS_IN_GAP
        return cls(meaning, language, places, places[1].words if known else None)


Together = tuple[Meaning, str]
"""A phrase in a script without spaces between words, as it stands."""


def phrases_of(rules: TriageRules) -> tuple[list[Phrase], list[Together]]:
    """Every phrase of the rules: those of whole words, and those of scripts without spaces."""
    spaced: list[Phrase] = []
    together: list[Together] = []
    for meaning, language, phrase in _listed(rules):
        if written_together(fold(phrase)):
            together.append((meaning, fold(phrase)))
        else:
            spaced += [Phrase.of(meaning, language, places) for places in _forms(phrase)]
    return spaced, together


def _listed(rules: TriageRules) -> Iterator[tuple[Meaning, str, str]]:
    for signal in rules.signals:
        yield from _each(Meaning("signal", signal.name), signal.words)
    for one in rules.products:
        for name in (one.name, *one.called):
            yield Meaning("product", one.name), "", name
        for topic in one.topics:
            yield from _each(Meaning("topic", f"{one.name}/{topic.name}"), topic.words)
    yield from _each(Meaning("people"), rules.counting.people)


def _each(meaning: Meaning, words: Words) -> Iterator[tuple[Meaning, str, str]]:
    for language, phrases in words.items():
        for phrase in phrases:
            yield meaning, language, phrase


def _forms(phrase: str) -> Iterator[tuple[Place, ...]]:
    """The sequences a phrase stands for: one, and one more for each word in it that is two (`can't`)."""
    choices: list[list[tuple[Place, ...]]] = []
    gap = 0
    for piece in phrase.split():
        if piece == GAP:
            gap += WORDS_IN_GAP
        else:
            choices.append(_choices(piece.split("|"), gap))
            gap = 0
    for chosen in product(*choices):
        form = tuple(place for places in chosen for place in places)
        if form:
            yield form


def _choices(words: Sequence[str], gap: int) -> list[tuple[Place, ...]]:
    single: set[str] = set()
    beginnings: set[str] = set()
    several: list[tuple[Place, ...]] = []
    for word in words:
        parts = tokens(fold(word.removesuffix("*")))
        if len(parts) == 1:
            (beginnings if word.endswith("*") else single).add(parts[0])
        elif parts:
            places = [Place(frozenset((part,)), (), 0 if number else gap) for number, part in enumerate(parts)]
            if word.endswith("*"):
                places[-1] = Place(frozenset(), (parts[-1],))
            several.append(tuple(places))
    if single or beginnings:
        several.append((Place(frozenset(single), tuple(sorted(beginnings)), gap),))
    return several


def words_of(words: Words) -> Iterator[str]:
    """Every word of some phrases, by itself."""
    for phrases in words.values():
        for phrase in phrases:
            for form in _forms(phrase):
                for place in form:
                    yield from place.words
