"""The words that say what a report is about: folded, without greetings, quotes, signatures and little words.

Two reports are compared by these words alone, so everything that templates, mail programs and manners add must be
gone before.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

MAX_WORDS = 48
"""Distinct words kept of one report, its subject's first."""
_READ = 2000
"""Characters of a text that are looked at: what a report is about stands at its beginning."""

_TOKEN = re.compile(r"\w+(?:[.\-]\w+)*")
_BRACKETED = re.compile(r"\[[^\]]{0,80}\]")
_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{3,}")
_QUOTE_HEAD = re.compile(
    r"^(on .{4,80} wrote:|am .{4,80} schrieb.*:|le .{4,80} a écrit ?:|el .{4,80} escribió:|il .{4,80} ha scritto:"
    r"|-{2,} ?(original message|ursprüngliche nachricht|forwarded message|message d'origine|mensaje original).*"
    r"|_{10,})$",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"^(hi|hello|hey|dear|good (morning|afternoon|evening|day)|greetings|hallo|guten (tag|morgen|abend)|moin|liebe[rs]?"
    r"|sehr geehrte[rs]?|bonjour|bonsoir|salut|cher|chère|hola|buen[oa]s (días|dias|tardes|noches)|estimad[oa]s?"
    r"|ciao|buongiorno|buonasera|salve|gentile|ol[áa]|prezad[oa]s?|bom dia|boa tarde|beste|geachte|hej|hei|merhaba"
    r"|cześć|dzień dobry|здравствуйте|добрый день|привет|こんにちは|お世話になって)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"^(--+|(kind|best|warm|many|with)? ?(regards|wishes)|thanks|thank you|many thanks|cheers|sincerely|yours|best"
    r"|mit freundlichen|freundliche|viele|beste|liebe|herzliche|vielen dank|danke|mfg|gruß|grüße|cordialement"
    r"|bien à vous|merci|saludos|un saludo|atentamente|gracias|cordiali saluti|distinti saluti|grazie|saluti"
    r"|atenciosamente|obrigad[oa]|abraços|met vriendelijke|groeten|с уважением|спасибо|sent from|von meinem"
    r"|gesendet von|envoyé de|enviado desde|よろしく)\b[^.?!]{0,60}[,.!]?$",
    re.IGNORECASE,
)
_AUTOMATIC = re.compile(
    r"^\W*(out of (the )?office|automatic reply|auto(matic|mated)?[- ]?(reply|response)|abwesenheit"
    r"|automatische antwort|absence du bureau|réponse automatique|respuesta automática|fuera de la oficina"
    r"|risposta automatica|undeliver(ed|able)|mail delivery|delivery status|returned mail|unzustellbar|vacation"
    r"|read:|gelesen:)",
    re.IGNORECASE,
)

# Little words of the languages most mail is written in, folded. Losing a homonym among them harms nothing.
_LITTLE_WORDS = """
    a about after all also am an and any are as at be been before but by can cannot could did do does doing don
    done for from get got had has have he her here his how i if in into is it its just let like me more my no
    not now of off on one only or our out over please re since so some still than that the their them then
    there these they this to too try trying until up us very was we were what when where which while who why
    will with would you your yours anymore again already always ever today yesterday morning afternoon evening
    fw fwd aw wg tr rv ref aber alle als auch auf aus bei bin bis bitte da das dass dem den der des die doch
    ein eine einem einen einer er es fur habe haben hat ich ihr im ist ja kann keine kein konnen man mein mehr
    mit nach nicht noch nur oder seit sich sie sind uber um und uns unser unsere von vor war warum wenn wer
    werden wie wieder wir wird zu zum zur heute gestern au aux avec ce ces cette comme dans de depuis donc du
    elle en est et etait etre fait il ils j je la le les leur lui mais meme mes moi mon ne nos notre nous ont
    ou par pas plus pour qu que qui sa se ses son sont sur ta te tes toi ton tous tout tres tu un une vos votre
    vous y al algo como con cual cuando del desde donde el ella ellos entre era esa ese esta este esto ha hay
    las lo los mas mi mis muy nada ni nosotros o para pero por porque sin sobre su sus tambien tengo tiene todo
    todos una unos ya yo ao aos dos e em essa esse eu foi isso meu minha na nas nao os pela pelo quando sao sem
    seu sua tem uma voce alla anche che chi ci come cosa dal dalla dei della di ed gli ho io ma mio nel nella
    non per perche piu questa questo si sono sul tra uno vi aan bij dan dat dit een heb heeft het hij hoe ik
    kan kunnen maar met mijn naar niet nog nu om ons onze ook op tot uit van voor waar wat wel wij worden ze
    zijn
"""
_LITTLE = frozenset(_LITTLE_WORDS.split())
# Words of every support mail: they count little, and alone make no two reports the same.
_GENERIC_WORDS = """
    account access app application anfrage ayuda bug customer error errore errors fail failed failing fehler
    fix fonctionne fonctionnement funciona funktioniert geht hilfe help important issue issues kunde kunden
    login mail message need page please plus possible problem problema probleme question request service
    software support system team test ticket time update urgent urgente urgence use user users version wichtig
    work working works aide kindly asap dringend frage pregunta domanda richiesta solicitud demande email
    e-mail unable customers client clients website site web
"""
GENERIC = frozenset(_GENERIC_WORDS.split())


@dataclass(frozen=True, slots=True)
class Gist:
    """The words of one report, in the order they were written, each once."""

    subject: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    """Of its text, those of the subject left out."""

    @property
    def words(self) -> tuple[str, ...]:
        """All of them, the subject's first."""
        return self.subject + self.rest

    def text(self) -> str:
        """As it is stored: the subject's words, a bar, the rest."""
        return f"{' '.join(self.subject)} | {' '.join(self.rest)}"

    @classmethod
    def of_text(cls, stored: str) -> Gist:
        """What `text` wrote."""
        subject, _, rest = stored.partition("|")
        return cls(tuple(subject.split()), tuple(rest.split()))


def gist(subject: str, text: str = "") -> Gist:
    """The words that say what a report is about."""
    seen: dict[str, None] = {}
    first = _distinct(_BRACKETED.sub(" ", subject), seen, MAX_WORDS // 2)
    rest = _distinct(own_words(text), seen, MAX_WORDS - len(first))
    return Gist(first, rest)


def is_automatic(subject: str) -> bool:
    """Whether a subject is one that machines write to everybody, whatever its headers said."""
    return _AUTOMATIC.match(subject.strip()) is not None


def own_words(text: str) -> str:
    """A text without what its writer did not mean: quotes, greeting, closing and everything below."""
    kept: list[str] = []
    for raw in text[:_READ].splitlines():
        line = raw.strip()
        if not line or line.startswith((">", "|")):
            continue
        if _QUOTE_HEAD.match(line) or (kept and len(line) < 70 and _CLOSING.match(line)):
            break
        if len(kept) < 2 and _GREETING.match(line):
            # A greeting alone on its line goes; one before the first sentence goes up to its comma.
            if len(line) < 50:
                continue
            head, comma, behind = line.partition(",")
            line = behind if comma and len(head) < 50 else line
        kept.append(line)
    return "\n".join(kept)


def _distinct(text: str, seen: dict[str, None], most: int) -> tuple[str, ...]:
    found: list[str] = []
    for word in _TOKEN.findall(_fold(text)):
        for part in _parts(word):
            if len(found) >= most:
                return tuple(found)
            if part not in seen:
                seen[part] = None
                found.append(part)
    return tuple(found)


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    flat = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in flat if not unicodedata.combining(c)))


@lru_cache(maxsize=10_000)
def _parts(word: str) -> tuple[str, ...]:
    """A word as it is compared, or nothing; a run without spaces as its pairs of characters."""
    if _WITHOUT_SPACES.fullmatch(word):
        return tuple(word[i : i + 2] for i in range(len(word) - 1))
    if len(word) < 3 or len(word) > 40 or word in _LITTLE:
        return ()
    if word.isdigit() and len(word) < 3:
        return ()
    # One form for singular and plural in the languages that say it with an s.
    if len(word) > 4 and word[-1] == "s" and word[-2] not in "sui" and word.isalpha():
        word = word[:-1]
    return (word,)
