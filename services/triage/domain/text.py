"""A text as rules see it: folded, without what others wrote in it, in words.

Every expression here is linear in the text: no repetition inside a repetition over the same characters.
"""

from __future__ import annotations

import re
from unicodedata import normalize

MAX_CHARS = 16_000
"""Of a body; what somebody needs is said before."""
MAX_SUBJECT = 500

_MARKS = re.compile("[\u0300-\u036f\u00ad\u200b-\u200d\ufeff]")
_TOKEN = re.compile(r"[^\W_]+|\n[ \t]*\n|(?<=\d)-(?=\d)|[.,;:!?()\[\]{}|=%\u2026\u3002\u3001\u00bf\u00a1]")
_WRITTEN_TOGETHER = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Khmer, kana, Han: scripts that put no spaces between words."""

BOUNDARIES = frozenset(".,;:!?()[]{}|=%\u2026\u3002\u3001\u00bf\u00a1")


def fold(text: str) -> str:
    """Without case and accents: `DÉBITÉ` and `debite` are one word."""
    if text.isascii():
        return text.lower()
    return _MARKS.sub("", normalize("NFKD", text.casefold()))


def tokens(folded: str) -> list[str]:
    """Words, and the punctuation that separates what is said; hyphens, slashes and quotes only part words."""
    return _TOKEN.findall(folded)


def is_boundary(token: str) -> bool:
    """Whether what is said before has nothing to do with what is said after."""
    return token in BOUNDARIES or token[0] == "\n"


def written_together(folded: str) -> bool:
    """Whether there is a script in it that puts no spaces between words."""
    return not folded.isascii() and _WRITTEN_TOGETHER.search(folded) is not None


# -- what the writer did not write for us -----------------------------------------------------------------------------

_QUOTED = re.compile(r"^[ \t]*>[^\n]*\n?", re.MULTILINE)
_WROTE = re.compile(
    r"\b(?:wrote|schrieb|ecrit|escribio|escreveu|scritto|schreef|skrev)\b[^\n:]{0,60}\n?[^\n:]{0,60}:[ \t]*$",
    re.MULTILINE,
)
_WROTE_BEGINS = re.compile(r"[ \t]*(?:on|am|le|el|em|il|op|den|no dia)\b")
_BELOW_IS_OLD = re.compile(
    r"^[ \t]*(?:-{2,}[ \t]*(?:original message|original appointment|ursprungliche nachricht|message d'origine"
    r"|mensaje original|mensagem original|messaggio originale|oorspronkelijk bericht)\b"
    r"|(?:from|von|de|da|van)[ \t]*:[^\n]{1,200}\n[ \t]*"
    r"(?:sent|date|gesendet|datum|envoye|enviado|inviato|verzonden)[ \t]*:"
    r"|--[ \t]*$"
    r"|(?:this|diese|ce|cet|cette|este|esta|questo|questa)[ \t]+(?:e-?mail|message|nachricht|courriel|correo|mensaje"
    r"|mensagem|messaggio)\b[^\n]{0,160}\b(?:confiden|vertraulich|riservat|privileg))",
    re.MULTILINE,
)
_FORWARDED = re.compile(
    r"^[ \t]*-{2,}[^\n]{0,20}(?:forwarded|weitergeleitet|transfere|reenviado|encaminhad|inoltrat)", re.MULTILINE
)
_DEVICE = re.compile(
    r"^[ \t]*(?:sent from|get outlook for|von meinem|gesendet (?:von|mit)|envoye (?:de|depuis)"
    r"|enviado (?:desde|do|a partir)|inviato da|verzonden vanaf)\b[^\n]{0,80}$",
    re.MULTILINE,
)
_CLOSINGS = (
    "regards|best regards|kind regards|kindest regards|warm regards|with best regards|with kind regards|many thanks"
    "|best wishes|thanks|thanks in advance|thanks again|thanks a lot|thanks so much|thanks and regards|thank you"
    "|thank you very much|thank you so much|thank you in advance|cheers|sincerely|yours sincerely|yours faithfully"
    "|yours truly|respectfully"
    "|mit freundlichen grussen|mit freundlichem gruss|mit besten grussen|mit lieben grussen|mit herzlichen grussen"
    "|freundliche grusse|viele grusse|liebe grusse|beste grusse|schone grusse|herzliche grusse|freundlicher gruss"
    "|viele gruesse|mit freundlichen gruessen|gruss|grusse|mfg|vg|lg|danke|vielen dank|danke im voraus"
    "|vielen dank im voraus"
    "|saludos|un saludo|saludos cordiales|un cordial saludo|atentamente|gracias|muchas gracias|gracias de antemano"
    "|cordialement|bien cordialement|salutations|sinceres salutations|meilleures salutations|merci|merci d'avance"
    "|merci beaucoup|bonne journee"
    "|cumprimentos|com os melhores cumprimentos|melhores cumprimentos|atenciosamente|obrigado|obrigada"
    "|muito obrigado|muito obrigada"
    "|saluti|cordiali saluti|distinti saluti|grazie|grazie mille|grazie in anticipo"
    "|met vriendelijke groet|met vriendelijke groeten|vriendelijke groet"
).replace(" ", r"[ \t]+")
_CLOSING = re.compile(rf"^[ \t]*(?:{_CLOSINGS})(?:[ \t,.!]+[^\W\d_]+){{0,3}}[ \t,.!]*$", re.MULTILINE)
"""A line that ends a letter, with a name perhaps; what follows is a signature."""
_POSTSCRIPT = re.compile(r"^[ \t]*p\.? ?s\.?[ \t]*:?[ \t]", re.MULTILINE)
_SAID = re.compile(r"[^\W_]{2,}")


def own_words(folded: str) -> str:
    """What the writer wrote: without quoted replies, older messages below, signature and legal notice.

    A text that consists of nothing else (a forwarded mail) is taken whole.
    """
    text = _cut(folded)
    return text if _SAID.search(text) else folded


def _cut(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if not _FORWARDED.search(text):
        attribution = _attribution(text)
        if attribution is not None:
            rest = text[attribution[1] :].lstrip()
            # Answers between or below quotes are the writer's; without quote marks all that follows is old.
            text = text[: attribution[0]] + (rest if rest.startswith(">") else "")
        if ">" in text:
            text = _QUOTED.sub("\n", text)
        below = _BELOW_IS_OLD.search(text)
        if below is not None:
            text = text[: below.start()]
    text = _DEVICE.sub("", text)
    for closing in _CLOSING.finditer(text):
        before = text[: closing.start()]
        if len(_SAID.findall(before, 0, 400)) < 4:
            continue  # a greeting that looks like one: "Thanks," before anything is said
        postscript = _POSTSCRIPT.search(text, closing.end())
        return before.rstrip() + ("\n\n" + text[postscript.start() :] if postscript else "")
    return text


def _attribution(text: str) -> tuple[int, int] | None:
    """Where `On Monday, Ana wrote:` stands, on one line or broken into two."""
    for wrote in _WROTE.finditer(text):
        start = text.rfind("\n", 0, wrote.start()) + 1
        for begin in (start, text.rfind("\n", 0, max(0, start - 1)) + 1):
            if _WROTE_BEGINS.match(text, begin) and wrote.start() - begin < 300:
                return begin, wrote.end()
    return None
