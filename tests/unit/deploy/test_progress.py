"""Progress on a terminal and in a file."""

from __future__ import annotations

import io

from deploy.local.progress import Progress, Transfer, summary


def test_a_summary_tells_count_amount_and_speed() -> None:
    line = summary(received=5_000_000, expected=20_000_000, done=1, files=3, seconds=2.0, current="a.jar")
    assert line == "  fetching 1/3 files, 5.0 of 20.0 MB (25 %), 2.5 MB/s  a.jar"


def test_nothing_expected_is_all_of_it() -> None:
    assert "(100 %), 0.0 MB/s" in summary(received=0, expected=0, done=0, files=0, seconds=0.0, current="")


def test_in_a_file_no_line_is_redrawn() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=False)
    transfer = Transfer(progress, files=1, expected=100)
    for _ in range(100):
        transfer.add("a.jar", 1)
    transfer.finish("a.jar", 100, 0.5)
    assert stream.getvalue() == "  fetched 1/1 a.jar 0.0 MB in 0.5 s\n"


def test_in_a_file_a_long_download_reports_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=False)
    for second in range(1, 13):
        progress.show(f"{second} s", now=progress._drawn + 1 if second == 1 else 1e9 + second)
    assert stream.getvalue().splitlines() == ["2 s", "7 s", "12 s"]


def test_on_a_terminal_a_lasting_line_first_wipes_the_live_one() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=True)
    progress.show("halfway", now=1.0)
    progress.say("done")
    assert stream.getvalue() == "halfway\r       \rdone\n"
