"""`python -m deploy.containers COMMAND`: what the Makefile calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploy.containers import images, secret_files
from deploy.local.refusal import Refusal, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Do one command."""
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    match name:
        case "images":
            images.build([] if rest == ["all"] else rest)
        case "secrets":
            made = secret_files.make(secret_files.folder(), *rest[:1])
            print(f"{len(made)} secrets made in {secret_files.folder()}")
        case "helm-check":
            from deploy.containers import charts

            return charts.main()
        case _:
            raise Refusal(f"There is no command {name!r}.", "`make help` lists what there is.")
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(lambda: main(sys.argv[1:])))
