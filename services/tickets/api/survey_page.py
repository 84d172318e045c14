"""The page behind a survey's link, in the requester's language: no script, no picture, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from html import escape

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a}"
    "h1{font-size:1.25rem}fieldset{border:0;padding:0;margin:1rem 0;display:flex;gap:.75rem;flex-wrap:wrap}"
    "label{display:inline-flex;gap:.25rem;align-items:center}textarea{width:100%;box-sizing:border-box;font:inherit}"
    "button{font:inherit;padding:.5rem 1.25rem}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Robots-Tag": "noindex, nofollow",
}
"""Go with every page; the link is a secret, so no page tells another one of it (the edge's Referrer-Policy)."""

SCORES = (1, 2, 3, 4, 5)

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "ask": "How did we do?",
        "best": "1 is poor, 5 is excellent.",
        "comment": "Anything you would like to add?",
        "send": "Send",
        "thanks": "Thank you for your answer.",
        "invalid": "Please choose a score from 1 to 5.",
        "unknown": "This link is not valid.",
        "disabled": "This survey is over.",
        "expired": "This survey is over.",
        "answered": "You have answered this survey already. Thank you.",
        "not_solved": "This request is being worked on again; we will ask you when it is solved.",
        "merged": "This request goes on as another one; we will ask you when that is solved.",
        "unavailable": "The survey cannot be answered just now. Please try again in a few minutes.",
    },
    "de": {
        "ask": "Wie zufrieden sind Sie?",
        "best": "1 ist schlecht, 5 ist ausgezeichnet.",
        "comment": "Möchten Sie etwas hinzufügen?",
        "send": "Absenden",
        "thanks": "Danke für Ihre Antwort.",
        "invalid": "Bitte wählen Sie eine Bewertung von 1 bis 5.",
        "unknown": "Dieser Link ist nicht gültig.",
        "disabled": "Diese Umfrage ist beendet.",
        "expired": "Diese Umfrage ist beendet.",
        "answered": "Sie haben diese Umfrage schon beantwortet. Danke.",
        "not_solved": "An dieser Anfrage wird wieder gearbeitet; wir fragen Sie, wenn sie gelöst ist.",
        "merged": "Diese Anfrage wird als eine andere weitergeführt; wir fragen Sie, wenn diese gelöst ist.",
        "unavailable": "Die Umfrage ist gerade nicht erreichbar. Bitte versuchen Sie es in einigen Minuten erneut.",
    },
    "es": {
        "ask": "¿Qué le ha parecido nuestra atención?",
        "best": "1 es mala, 5 es excelente.",
        "comment": "¿Desea añadir algo?",
        "send": "Enviar",
        "thanks": "Gracias por su respuesta.",
        "invalid": "Elija una puntuación del 1 al 5.",
        "unknown": "Este enlace no es válido.",
        "disabled": "Esta encuesta ha terminado.",
        "expired": "Esta encuesta ha terminado.",
        "answered": "Ya ha respondido a esta encuesta. Gracias.",
        "not_solved": "Estamos trabajando de nuevo en su solicitud; le preguntaremos cuando esté resuelta.",
        "merged": "Su solicitud continúa en otra; le preguntaremos cuando esté resuelta.",
        "unavailable": "La encuesta no está disponible ahora. Inténtelo de nuevo en unos minutos.",
    },
    "fr": {
        "ask": "Êtes-vous satisfait de notre aide ?",
        "best": "1 : mauvais, 5 : excellent.",
        "comment": "Souhaitez-vous ajouter quelque chose ?",
        "send": "Envoyer",
        "thanks": "Merci pour votre réponse.",
        "invalid": "Veuillez choisir une note de 1 à 5.",
        "unknown": "Ce lien n’est pas valable.",
        "disabled": "Cette enquête est terminée.",
        "expired": "Cette enquête est terminée.",
        "answered": "Vous avez déjà répondu à cette enquête. Merci.",
        "not_solved": "Votre demande est de nouveau en cours ; nous vous interrogerons quand elle sera résolue.",
        "merged": "Votre demande se poursuit dans une autre ; nous vous interrogerons quand elle sera résolue.",
        "unavailable": "L’enquête n’est pas disponible. Veuillez réessayer dans quelques minutes.",
    },
}


def words(language: str | None) -> dict[str, str]:
    """The page's texts in a BCP 47 language, or in English."""
    return _WORDS.get((language or "en").partition("-")[0].lower(), _WORDS["en"])


def said(key: str, language: str | None) -> str:
    """A page that only says something."""
    return _page(words(language)[key], language, "")


def form(
    number: str, subject: str, language: str | None, *, score: int | None, comment: str | None, warn: bool = False
) -> str:
    """The page that asks. Its form posts to its own address."""
    told = words(language)
    choices = "".join(
        f'<label><input type="radio" name="score" value="{n}"{" checked" if n == score else ""} required>{n}</label>'
        for n in SCORES
    )
    warning = f'<p role="alert">{escape(told["invalid"])}</p>' if warn else ""
    return _page(
        told["ask"],
        language,
        f"<p>{escape(number)}: {escape(subject)}</p>{warning}"
        f'<form method="post"><fieldset><legend>{escape(told["best"])}</legend>{choices}</fieldset>'
        f'<p><label for="comment">{escape(told["comment"])}</label>'
        f'<textarea id="comment" name="comment" rows="5" maxlength="4000">{escape(comment or "")}</textarea></p>'
        f'<button type="submit">{escape(told["send"])}</button></form>',
    )


def _page(title: str, language: str | None, body: str) -> str:
    shown = language if words(language) is not _WORDS["en"] and language else "en"
    return (
        f'<!doctype html><html lang="{escape(shown.partition("-")[0].lower())}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
