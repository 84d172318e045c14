"""What a mail says, in whatever parts and encodings it says it."""

from __future__ import annotations

import base64

import pytest

from services.ingest.mail.body import unflow
from services.ingest.mail.html import render, to_text
from services.ingest.mail.limits import DEFAULT
from services.ingest.mail.parse import ParsedMail, parse


def single(body: bytes, *lines: bytes) -> ParsedMail:
    return parse(b"\r\n".join([b"From: a@x.example", *lines]) + b"\r\n\r\n" + body)


def multipart(kind: bytes, *parts: bytes, end: bool = True) -> bytes:
    content = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + (b"--b--\r\n" if end else b"")
    return b"From: a@x.example\r\nContent-Type: multipart/" + kind + b'; boundary="b"\r\n\r\n' + content


def part(content_type: bytes, body: bytes, *more: bytes) -> bytes:
    return b"\r\n".join([b"Content-Type: " + content_type, *more]) + b"\r\n\r\n" + body


PLAIN = part(b"text/plain; charset=utf-8", "grüß".encode())
HTML = part(b"text/html; charset=utf-8", b"<p>rich</p>")
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
IMAGE = part(b"image/png; name=a.png", base64.b64encode(PNG), b"Content-Transfer-Encoding: base64")


@pytest.mark.parametrize(
    ("body", "lines", "text"),
    [
        ("ä€".encode(), (b"Content-Type: text/plain; charset=utf-8",), "ä€"),
        ("ä".encode("latin-1"), (b"Content-Type: text/plain; charset=iso-8859-1",), "ä"),
        ("„ä“".encode("cp1252"), (b"Content-Type: text/plain; charset=iso-8859-1",), "„ä“"),
        ("Привет, как дела?".encode("koi8-r"), (b"Content-Type: text/plain; charset=koi8-r",), "Привет, как дела?"),
        ("ä".encode(), (b"Content-Type: text/plain; charset=us-ascii",), "ä"),
        ("ä".encode(), (b"Content-Type: text/plain; charset=iso-2022-kr",), "ä"),
        ("ä".encode(), (b'Content-Type: text/plain; charset="bogus-8"',), "ä"),
        ("ä".encode(), (b"Content-Type: text/plain; charset=",), "ä"),
        ("ä".encode(), (b"Content-Type: text/plain; charset=idna",), "ä"),
        ("ä".encode("utf-16"), (b"Content-Type: text/plain; charset=utf-16",), "ä"),
        ("日本語のメール".encode("iso2022_jp"), (b"Content-Type: text/plain",), "日本語のメール"),
        ("日本語のメールです".encode("cp932"), (b"Content-Type: text/plain; charset=shift_jis",), "日本語のメールです"),
        ("你好世界".encode("gb18030"), (b"Content-Type: text/plain; charset=gb2312",), "你好世界"),
        (b"=C3=A4=\r\nb", (b"Content-Transfer-Encoding: quoted-printable",), "äb"),
        (b"=C3=ZZ=", (b"Content-Transfer-Encoding: quoted-printable",), None),
        (b"aGVsbG8", (b"Content-Transfer-Encoding: base64",), "hello"),
        (b"begin 644 x\n%:&5L;&\\\n`\nend\n", (b"Content-Transfer-Encoding: x-uuencode",), "hello"),
        (b"plain", (b"Content-Transfer-Encoding: bogus",), "plain"),
        (b"a\x00b\x07c", (), "abc"),
        (b"a\rb\r\nc", (), "a\nb\nc"),
        (b"x", (b"Content-Type: ;;;",), "x"),
        (b"x", (b"Content-Type: text",), "x"),
        (b"<p>x</p>", (b"Content-Type: html",), "x"),
        (b"", (), ""),
    ],
)
def test_a_single_text_is_read(body: bytes, lines: tuple[bytes, ...], text: str | None) -> None:
    read = single(body, *lines)
    assert read.quarantine is None
    if text is not None:
        assert read.text == text


def test_of_alternatives_the_text_is_the_plain_one_and_the_page_the_rich_one() -> None:
    read = parse(multipart(b"alternative", PLAIN, HTML))
    assert (read.text, read.html) == ("grüß", "<p>rich</p>")
    assert read.files == ()


def test_the_very_first_part_is_read() -> None:
    assert parse(multipart(b"mixed", PLAIN, IMAGE)).text == "grüß"


def test_html_alone_becomes_text() -> None:
    assert parse(multipart(b"mixed", HTML)).text == "rich"


def test_an_empty_plain_alternative_does_not_hide_the_rich_one() -> None:
    assert parse(multipart(b"alternative", part(b"text/plain", b" \r\n"), HTML)).text == "rich"


def test_several_texts_of_a_mixed_mail_follow_each_other() -> None:
    assert parse(multipart(b"mixed", PLAIN, IMAGE, part(b"text/plain", b"footer"))).text == "grüß\n\nfooter"


def test_apples_mixed_within_alternative_keeps_text_and_attachment() -> None:
    inner = b'Content-Type: multipart/mixed; boundary="i"\r\n\r\n'
    inner += (
        b"--i\r\n" + HTML + b"\r\n--i\r\n" + IMAGE + b"\r\n--i\r\n" + HTML.replace(b"rich", b"after") + b"\r\n--i--"
    )
    read = parse(multipart(b"alternative", PLAIN, inner))
    assert read.text == "grüß"
    assert "after" in (read.html or "")
    assert [file.data for file in read.files] == [PNG]


def test_a_missing_end_and_a_boundary_that_never_occurs_are_read() -> None:
    assert parse(multipart(b"mixed", PLAIN, IMAGE, end=False)).files[0].data == PNG
    never = b'From: a@x.example\r\nContent-Type: multipart/mixed; boundary="never"\r\n\r\njust text\r\n'
    assert parse(never).text == "just text"


def test_a_multipart_that_forgets_its_boundary_is_read() -> None:
    raw = multipart(b"mixed", PLAIN, IMAGE).replace(b'; boundary="b"', b"")
    assert parse(raw).files[0].data == PNG


def test_a_boundary_that_begins_like_its_parents_is_another() -> None:
    inner = (
        b'Content-Type: multipart/alternative; boundary="bb"\r\n\r\n--bb\r\n'
        + PLAIN
        + b"\r\n--bb\r\n"
        + HTML
        + b"\r\n--bb--"
    )
    read = parse(multipart(b"mixed", inner, IMAGE))
    assert (read.text, len(read.files)) == ("grüß", 1)


def test_what_stands_before_and_after_the_parts_is_no_part() -> None:
    raw = multipart(b"mixed", PLAIN).replace(b"\r\n\r\n--b", b"\r\n\r\npreamble\r\n--b", 1) + b"epilogue"
    assert parse(raw).text == "grüß"


def test_a_part_without_headers_is_text() -> None:
    assert parse(multipart(b"mixed", b"\r\nbare")).text == "bare"


def test_a_forwarded_mail_is_an_attachment_named_by_its_subject() -> None:
    inner = b"From: z@x.example\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nold"
    (file,) = parse(multipart(b"mixed", PLAIN, part(b"message/rfc822", inner))).files
    assert (file.name, file.media_type, file.data) == ("Grüße.eml", "message/rfc822", inner)


def test_a_digest_holds_mails() -> None:
    (file,) = parse(multipart(b"digest", b"\r\nSubject: inner\r\n\r\nx")).files
    assert file.name == "inner.eml"


def test_an_image_named_by_the_page_is_inline() -> None:
    page = part(b"text/html", b'<img src="cid:pic@x">')
    image = IMAGE.replace(b"\r\n\r\n", b"\r\nContent-ID: <pic@x>\r\n\r\n", 1)
    (file,) = parse(multipart(b"related", page, image)).files
    assert (file.inline, file.content_id) == (True, "pic@x")


def test_duplicate_headers_take_the_first() -> None:
    assert single(b"<p>x</p>", b"Content-Type: text/html", b"Content-Type: text/plain").text == "x"


def test_a_signed_mail_keeps_its_signature() -> None:
    signature = part(b"application/pgp-signature; name=signature.asc", b"-----BEGIN PGP SIGNATURE-----")
    read = parse(multipart(b"signed; protocol=x", PLAIN, signature))
    assert (read.text, read.files[0].name) == ("grüß", "signature.asc")


def test_a_calendar_invitation_is_an_attachment() -> None:
    read = parse(multipart(b"alternative", PLAIN, part(b"text/calendar; method=REQUEST", b"BEGIN:VCALENDAR")))
    assert (read.text, read.files[0].media_type) == ("grüß", "text/calendar")


def test_flowed_text_is_joined_and_unstuffed() -> None:
    assert (
        unflow("one \ntwo\n>quoted \n>more\n From\n-- \nsig", delete_space=False)
        == "one two\n> quoted more\nFrom\n-- \nsig"
    )
    assert unflow("ab \ncd", delete_space=True) == "abcd"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("one<br>two<br/><br>three", "one\ntwo\n\nthree"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a\tb\nc"),
        ("<blockquote>old<br>mail</blockquote>new", "> old\n> mail\n\nnew"),
        ('<a href="https://x.example/p">here</a>', "here <https://x.example/p>"),
        ('<a href="https://x.example/">https://x.example</a>', "https://x.example"),
        ('<a href="javascript:alert(1)">x</a>', "x"),
        ("<style>p{}</style><script>x</script><title>t</title>y", "y"),
        ("a&nbsp;&lt;b&gt; &amp; c", "a <b> & c"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ('<div style="display:none">hidden</div>shown', "shown"),
        ('<img src="x" alt="Logo">', "[Logo]"),
        ("  a \n\n b  ", "a b"),
        ("<b>unclosed <i>tags", "unclosed tags"),
        ("no tags at all", "no tags at all"),
        ("", ""),
    ],
)
def test_html_reads_as_a_person_sees_it(page: str, text: str) -> None:
    assert to_text(page) == text


@pytest.mark.parametrize(
    "page",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        '<a href="javascript:alert(1)">x</a>',
        '<img src="https://tracker.example/p.gif">',
        '<img src="//tracker.example/p.gif">',
        '<img src="cid:a" srcset="https://tracker.example/2x">',
        '<body background="https://tracker.example/b.png">',
        '<table background="https://tracker.example/b.png"><tr><td>x</td></tr></table>',
        '<div style="background:url(https://tracker.example/b.png)">x</div>',
        '<link rel=stylesheet href="https://tracker.example/s.css">',
        '<iframe src="https://tracker.example"></iframe>',
        '<form action="https://tracker.example"><input name=p></form>',
        '<base href="https://tracker.example/">',
        '<svg onload="alert(1)"></svg>',
        '<meta http-equiv=refresh content="0;url=https://tracker.example">',
        '<a href="data:text/html,<script>alert(1)</script>">x</a>',
        '<video src="https://tracker.example/v.mp4" poster="https://tracker.example/p"></video>',
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    ],
)
def test_a_page_runs_nothing_and_loads_nothing(page: str) -> None:
    safe = (render(page, DEFAULT).safe or "").lower()
    for poison in ("script", "onerror", "onload", "tracker.example", "javascript:", "data:", "<form", "<iframe"):
        assert poison not in safe


def test_html_too_deep_or_too_large_still_gives_its_text() -> None:
    deep = "<div>" * 20_000 + "found &amp; kept" + "</div>" * 20_000
    assert render(deep, DEFAULT).text == "found & kept"
    assert render(deep, DEFAULT).safe is None
    large = "<p>word</p>" * 300_000
    assert render(large, DEFAULT).text.count("word") == 300_000
