"""Attachments get names that harm nobody and the type their content has (B3, B5)."""

from __future__ import annotations

import pytest

from services.ingest.mail.files import fallback_name, media_type, safe_name, unique


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\a.txt", "a.txt"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("a\x00b.txt", "ab.txt"),
        ("a\r\nSet-Cookie: x.txt", "a_Set-Cookie_ x.txt"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        (".htaccess", "htaccess"),
        ("trailing. . ", "trailing"),
        ('a<b>:"|?*.txt', "a_b______.txt"),
        ("/", "fallback"),
        ("..", "fallback"),
        ("   ", "fallback"),
        ("", "fallback"),
        ("Übersicht.pdf", "Übersicht.pdf"),
        ("x" * 500 + ".pdf", "x" * 116 + ".pdf"),
        ("日本語" * 100, ("日本語" * 40)[:120]),
        ("a\ud800.txt", "a_.txt"),
    ],
)
def test_a_name_is_made_safe(given: str, safe: str) -> None:
    assert safe_name(given, "fallback") == safe


def test_names_of_one_message_are_different() -> None:
    taken: set[str] = set()
    assert [unique(name, taken) for name in ("a.txt", "A.txt", "a.txt", "b")] == [
        "a.txt",
        "A (2).txt",
        "a (3).txt",
        "b",
    ]


def test_a_part_without_a_name_gets_one_by_its_type() -> None:
    assert fallback_name(2, "image/png") == "attachment-2.png"
    assert fallback_name(1, "application/x-unheard") == "attachment-1"


@pytest.mark.parametrize(
    ("head", "declared", "name", "found"),
    [
        (b"\x89PNG\r\n\x1a\n...", "text/html", "x.html", "image/png"),
        (b"\xff\xd8\xff\xe0", "application/octet-stream", "x", "image/jpeg"),
        (b"%PDF-1.7", "image/png", "x.png", "application/pdf"),
        (b"MZ\x90", "image/png", "photo.png", "application/vnd.microsoft.portable-executable"),
        (
            b"PK\x03\x04",
            "application/zip",
            "a.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (b"PK\x03\x04", "image/png", "a.png", "application/zip"),
        (b"<html><script>", "image/png", "a.png", "text/html"),
        (b"\xef\xbb\xbf  <!DOCTYPE html>", "text/plain", "a.txt", "text/html"),
        (b"<?xml version='1.0'?><svg onload=x>", "image/png", "a.png", "image/svg+xml"),
        (b"<?xml version='1.0'?><a/>", "text/plain", "a.xml", "application/xml"),
        (b"not an image", "image/png", "a.png", "text/plain"),
        (b"\x00\x01\x02", "image/png", "a.png", "application/octet-stream"),
        (b"a,b\n1,2", "application/octet-stream", "a.csv", "text/csv"),
        (b"hello", "text/plain", "a.txt", "text/plain"),
        (b"hello", "not a type", "a", "text/plain"),
        (b"", "", "", "application/octet-stream"),
        (b"\x78\x9f\x3e\x22", "application/ms-tnef", "winmail.dat", "application/vnd.ms-tnef"),
    ],
)
def test_a_type_is_told_by_content(head: bytes, declared: str, name: str, found: str) -> None:
    assert media_type(head, declared, name) == found
