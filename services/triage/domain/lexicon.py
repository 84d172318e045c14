"""A pack's words compiled, and texts read with them.

Words are looked up one by one in a table, so that a text costs the same however many phrases a pack has; only where a
phrase begins is the rest of it compared. Everything is a comparison of whole words, never an expression of the pack's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services.triage.domain import language as languages
from services.triage.domain.facts import Findings, Found, united
from services.triage.domain.phrases import WORDS_IN_GAP, Meaning, Phrase, Place, phrases_of, words_of
from services.triage.domain.text import MAX_CHARS, MAX_SUBJECT, fold, is_boundary, own_words, tokens, written_together
from shared.contracts.pack.triage import TriageRules

MOST_KNOWN = 5_000
"""Words of texts remembered per language, with what begins with them."""
EVERYWHERE = "en"
"""Its words are looked for in every text: people write `server down` in any language."""
DENIED_WITHIN = 5
"""Words before a match in which a denial is looked for, as long as only filling words stand between."""
COUNTED_WITHIN = 4


@dataclass(frozen=True, slots=True)
class _Match:
    phrase: Phrase
    at: tuple[int, ...]
    """Which words of the text."""


class _Beginnings(dict[str, tuple[Phrase, ...]]):
    """The phrases that may begin with a word, worked out when the word is first met."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        super().__init__()
        self._whole: dict[str, list[Phrase]] = {}
        self._prefix: dict[str, list[Phrase]] = {}
        for phrase in phrases:
            for word in phrase.places[0].words:
                self._whole.setdefault(word, []).append(phrase)
            for beginning in phrase.places[0].beginnings:
                self._prefix.setdefault(beginning, []).append(phrase)
        self._lengths = sorted({len(beginning) for beginning in self._prefix})

    def __missing__(self, word: str) -> tuple[Phrase, ...]:
        found = list(self._whole.get(word, ()))
        for length in self._lengths:
            if length <= len(word):
                found += self._prefix.get(word[:length], ())
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[word] = result = tuple(found)
        return result


class Lexicon:
    """The words of one version of one tenant's rules."""

    def __init__(self, rules: TriageRules) -> None:
        spaced, together = phrases_of(rules)
        self._any_language = _Beginnings(spaced)
        self._by_language = {
            language: _Beginnings(phrase for phrase in spaced if phrase.language in {"", EVERYWHERE, language})
            for language in {EVERYWHERE, *(phrase.language for phrase in spaced if phrase.language)}
        }
        # Scripts without spaces are searched as they stand; a longer one hides those within it.
        self._together = sorted(together, key=lambda pair: (-len(pair[1]), pair[1]))
        self._subject_only = frozenset(signal.name for signal in rules.signals if signal.only_in_subject)
        self._denials = frozenset(words_of(rules.negation.words))
        self._between = frozenset(words_of(rules.negation.between))
        self._numbers = {
            word: number
            for table in rules.counting.numbers.values()
            for spelt, number in table.items()
            for word in tokens(fold(spelt))
        }

    def read(self, subject: str, body: str) -> Findings:
        """What a subject and a body say; quoted replies and signatures are not the writer's and not read."""
        title = subject[:MAX_SUBJECT]
        said = own_words(fold(body[:MAX_CHARS]))
        in_title, in_body = tokens(fold(title)), tokens(said)
        written = languages.detect(f"{title} {body[: languages.MOST_CHARS]}", [*in_title, *in_body])
        # A word may mean something else in another language: Dutch storing, German Gift.
        beginnings = self._by_language.get(written, self._by_language[EVERYWHERE]) if written else self._any_language
        found: list[tuple[Meaning, Found]] = []
        counts: list[int] = []
        for words, in_subject in ((in_title, True), (in_body, False)):
            matches = _matches(words, beginnings, self._denials)
            for match in matches:
                if match.phrase.meaning.kind == "people":
                    number = self._number(words, match.at[0])
                    if number is not None:
                        counts.append(number)
                    continue
                if match.phrase.meaning.name in self._subject_only and not in_subject:
                    continue
                one = Found(
                    name=match.phrase.meaning.name,
                    words=_quoted(words, match.at),
                    in_subject=in_subject,
                    denied=self._denied(words, match.at[0]),
                )
                found.append((match.phrase.meaning, one))
        for text, in_subject in ((fold(title), True), (said, False)):
            found += self._in_joined_scripts(text, in_subject=in_subject)
        return Findings(
            signals=united(one for meaning, one in found if meaning.kind == "signal"),
            products=united(one for meaning, one in found if meaning.kind == "product"),
            topics=united(one for meaning, one in found if meaning.kind == "topic"),
            affected=max(counts, default=None),
            language=written,
        )

    def _denied(self, words: Sequence[str], start: int) -> bool:
        for place in range(start - 1, max(-1, start - 1 - DENIED_WITHIN), -1):
            word = words[place]
            if word in self._denials:
                return True
            if word not in self._between:
                return False
        return False

    def _number(self, words: Sequence[str], start: int) -> int | None:
        """The number shortly before a word for people: `300`, `1,200`, `1 200`, `forty`, `2 thousand`."""
        for place in range(start - 1, max(-1, start - 1 - COUNTED_WITHIN), -1):
            word = words[place]
            if word.isdecimal():
                return _digits(words, place)
            if word in self._numbers:
                value = self._numbers[word]
                before = words[place - 1] if place else ""
                factor = int(before[:9]) if before.isdecimal() else self._numbers.get(before, 0)
                return value * factor if value >= 100 and 0 < factor < value else value
            if is_boundary(word):
                return None
        return None

    def _in_joined_scripts(self, text: str, *, in_subject: bool) -> Iterator[tuple[Meaning, Found]]:
        if not self._together or not written_together(text):
            return
        for meaning, characters in self._together:
            if characters in text:
                yield meaning, Found(name=meaning.name, words=characters, in_subject=in_subject)
                text = text.replace(characters, " ")


def _matches(words: Sequence[str], beginnings: _Beginnings, denials: frozenset[str]) -> list[_Match]:
    found: list[_Match] = []
    for at, phrases in enumerate(map(beginnings.__getitem__, words)):
        if not phrases:
            continue
        following = words[at + 1 : at + 2 + WORDS_IN_GAP]
        for phrase in phrases:
            if phrase.soon is not None and phrase.soon.isdisjoint(following):
                continue
            places = _follow(phrase.places, words, at, denials)
            if places is not None:
                found.append(_Match(phrase, places))
    if len(found) < 2:
        return found
    # `not urgent` hides the `urgent` within it, whatever order the pack has them in; `40 customers` stays a number.
    sets = [(match.phrase.meaning.kind, frozenset(match.at)) for match in found]
    return [
        match
        for match, (kind, mine) in zip(found, sets, strict=True)
        if not any(mine < other for other_kind, other in sets if other_kind == kind)
    ]


def _follow(
    places: Sequence[Place], words: Sequence[str], start: int, denials: frozenset[str]
) -> tuple[int, ...] | None:
    """Where the words of a phrase are, the first of them at `start`; None when they are not."""
    at = [start]
    here = start + 1
    for wanted in places[1:]:
        reach = wanted.gap
        while here < len(words) and not wanted.takes(words[here]):
            if reach == 0 or is_boundary(words[here]) or words[here] in denials:
                return None
            reach -= 1
            here += 1
        if here >= len(words):
            return None
        at.append(here)
        here += 1
    return tuple(at)


def _digits(words: Sequence[str], place: int) -> int | None:
    """The number that ends here, with its thousands; None for a year (`since 2019 users …`)."""
    digits = words[place]
    first = place
    while len(words[first]) == 3 and first > 0:
        if words[first - 1] in {".", ","} and first > 1 and words[first - 2].isdecimal():
            first -= 2
        elif words[first - 1].isdecimal() and len(words[first - 1]) <= 3:
            first -= 1
        else:
            break
        digits = words[first] + digits
    if first == place and len(digits) == 4 and digits[:2] in {"19", "20"} and place and words[place - 1] in _YEAR:
        return None
    return int(digits[:15])


_YEAR = frozenset(("in", "since", "seit", "im", "desde", "depuis", "dal", "nel", "en"))


def _quoted(words: Sequence[str], at: Sequence[int]) -> str:
    """The matched words, with a mark where others stand between."""
    parts: list[str] = []
    for number, place in enumerate(at):
        if number and place != at[number - 1] + 1:
            parts.append("…")
        parts.append(words[place])
    return " ".join(parts)
