"""`python -m deploy.local COMMAND`: what the Makefile calls; the commands are the cases below."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from deploy.local import supervise
from deploy.local.refusal import Refusal, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Do one command."""
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    first = rest[0] if rest else ""
    match name:
        case "up":
            supervise.up()
            return 0
        case "demo":
            return supervise.demo()
        case "down":
            return supervise.down()
        case "clean":
            return supervise.clean()
        case "status":
            from deploy.local import table

            return table.show()
        case "logs":
            return supervise.logs(first)
        case "restart":
            return supervise.restart(first)
        case "run":
            return supervise.run(rest)
        case "test":
            return supervise.test(rest)
        case "bench":
            return supervise.bench(rest)
        case "suites":
            return supervise.suites(first)
        case "env":
            return supervise.environment()
        case "images":
            from deploy.local import folders, images
            from deploy.local.progress import Progress

            images.build(folders.cache_folder(), Progress())
            return 0
        case "engines-up":
            return supervise.engines_up()
        case "engines-down":
            return supervise.engines_down()
        case _:
            raise Refusal(f"There is no command {name!r}.", "`make help` lists what there is.")


if __name__ == "__main__":
    # What we unpack must be readable by the engines' user, whatever our shell's mask; secrets are made 0600 one by one.
    os.umask(0o022)
    raise SystemExit(guarded(lambda: main(sys.argv[1:])))
