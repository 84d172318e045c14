"""Which language a text is in: by its commonest words where they speak clearly, else by whatlang, else not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import whatlang

from services.triage.domain.text import fold

MOST_WORDS = 120
MOST_CHARS = 400
FEWEST_LETTERS = 24
"""Shorter Latin texts look alike to trigrams."""
ENOUGH, LEAD = 3, 2
"""Common words that decide, and how many times more than of the next language."""

_COMMON = {
    "en": "the and is are was not to of our we you your have has this that with for it be can cannot please when from"
    " since my on in but they there what how would could does after all hello dear i an at as so do if no"
    " help down get login account working up out",
    "de": "der die das und ist nicht wir sie ich ein eine einen einem einer mit fur von auf dem den zu im bei seit wird"
    " werden haben hat kann konnen bitte unsere unser uns es auch noch nach wie mehr kein keine hallo guten tag sehr"
    " geehrte geehrter ihr ihre mein meine oder wenn aber alle sich sind war nichts geht schon immer",
    "es": "el los las que no es en un una por para con del se su sus nos hemos hola buenos dias favor desde pero como"
    " mas puedo podemos tenemos esta este estamos nuestro nuestra nuestros todos al lo mi muy cuando hay ya tengo"
    " puede pueden gracias necesito necesitamos quiero la y ayer hoy cuenta",
    "fr": "le les des est une pour dans nous vous que qui pas sur avec au aux ce cette depuis notre nos votre bonjour"
    " merci je ne et du mais plus tous sont avons avez ai etre peut peux pouvez puis comment quand aucun meme il elle"
    " on nos mon ma mes impossible par la un jour hier compte",
    "pt": "os as que nao em um uma para com do da dos das se por nos no na seu sua ola bom dia desde mas como mais"
    " posso podemos temos este esta estamos nosso nossa todos ao foi quando voces voce ja obrigado obrigada minha"
    " meu consigo conseguimos gostaria muito sao tem ontem hoje conta",
    "it": "il gli che non e in un una per con del della dei delle si nostro nostra nostri da ma come piu posso"
    " possiamo abbiamo questo questa siamo tutti al alla sono quando mi ci buongiorno salve grazie dal dalla nel"
    " nella ho riesco riusciamo vorrei molto anche degli lo la ieri oggi conto perche",
    "nl": "het een en van niet de wij ons onze op te voor met zijn is dat kan kunnen graag sinds maar hoe geen meer"
    " hebben heeft hallo goedemorgen ik u uw bij naar wordt nog alle jullie",
    "pl": "nie sie jest w na z do to od i co jak czy mamy moge mozemy prosze dzien dobry nas nasz nasze po dla przez"
    " tak juz wszyscy od rana dziekuje ale o",
    "ru": "и не в на что мы у нас с как это но по из за к от для при все уже вы можем может могу помогите пожалуйста"
    " здравствуйте добрый день со я есть нет мне наш наша",
    "uk": "і та не що ми у нас з як це але із за до від для вже ви можемо допоможіть будь ласка доброго дня я є немає",
}
_LANGUAGES: dict[str, tuple[str, ...]] = {}
for _language, _words in _COMMON.items():
    for _word in fold(_words).split():
        _LANGUAGES[_word] = (*_LANGUAGES.get(_word, ()), _language)

_SHORT = {"eng": "en", "deu": "de", "spa": "es", "fra": "fr", "por": "pt", "ita": "it", "nld": "nl", "cmn": "zh"}


def detect(text: str, words: Sequence[str]) -> str | None:
    """ISO 639-1 where there is one; None for a text that is too short or undecided.

    `text` as it was written, `words` its words folded.
    """
    scores: dict[str, int] = {}
    for word in words[:MOST_WORDS]:
        for language in _LANGUAGES.get(word, ()):
            scores[language] = scores.get(language, 0) + 1
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    best, score = ranked[0] if ranked else ("", 0)
    second = ranked[1][1] if len(ranked) > 1 else 0
    if score >= ENOUGH and score >= second * LEAD:
        return best
    guess = _by_letters(text[:MOST_CHARS])
    if guess is not None:
        return guess
    return best if score >= 2 and score > second else None


def _by_letters(text: str) -> str | None:
    try:
        # The package's stub knows none of the properties that its class has.
        found: Any = whatlang.detect(text)
    except ValueError:
        return None  # no letters at all
    if not found.is_reliable:
        return None
    if found.script == "Latin" and sum(map(str.isalpha, text)) < FEWEST_LETTERS:
        return None
    if found.lang in _SHORT:
        return _SHORT[found.lang]
    found.to_iso()  # from three letters to two, in place
    return str(found.lang) or None
