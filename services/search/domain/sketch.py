"""Keys under which alike reports meet: two with much in common share one almost surely, strangers hardly ever.

MinHash over the words: each band is the least hash of two permutations, so a band is shared with the square of the
reports' likeness. Bands, the subject as a whole and codes (`E-4012`) are looked up by equality, which an index does.
"""

from __future__ import annotations

import random
from functools import lru_cache
from hashlib import blake2b

from services.search.domain.wording import GENERIC, Gist

BANDS = 6
_WORDS = 20
"""Words a band is taken of: the subject's and the first of the text."""
_CODES = 2
_MASK = (1 << 32) - 1
_DRAW = random.Random(20260302)  # noqa: S311 - fixed multipliers, not secrets
_MULTIPLIERS = tuple(_DRAW.randrange(1, 1 << 32) | 1 for _ in range(2 * BANDS))


def keys(tenant_id: str, gist: Gist) -> tuple[int, ...]:
    """Keys of one report, as signed 64-bit numbers; none for one that says too little to be compared."""
    telling = [word for word in gist.words if word not in GENERIC]
    if len(telling) < 2:
        return ()
    least = list(map(min, zip(*map(_permuted, gist.words[:_WORDS]), strict=True)))
    found = [_key(tenant_id, f"{band}:{least[2 * band]}:{least[2 * band + 1]}") for band in range(BANDS)]
    subject = sorted(word for word in gist.subject if word not in GENERIC)
    if len(subject) >= 2:
        found.append(_key(tenant_id, "s:" + " ".join(subject)))
    codes = [word for word in gist.words if is_code(word)][:_CODES]
    found += [_key(tenant_id, "c:" + code) for code in codes]
    return tuple(dict.fromkeys(found))


def is_code(word: str) -> bool:
    """Whether a word names one thing, as an error code, an order or a host does."""
    if word.isalpha():
        return False
    digits = sum(map(str.isdigit, word))
    return digits >= 4 or (digits > 0 and digits < len(word) and len(word) >= 5)


@lru_cache(maxsize=5_000)
def _permuted(word: str) -> tuple[int, ...]:
    """A word's place in each permutation."""
    own = int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "big")
    return tuple((own * multiplier) & _MASK for multiplier in _MULTIPLIERS)


def _key(tenant_id: str, text: str) -> int:
    return int.from_bytes(blake2b(f"{tenant_id}\0{text}".encode(), digest_size=8).digest(), "big", signed=True)
