"""`deskwire demo`: plays real input through the public entries and shows what came out."""

from cli.demo.command import demo

__all__ = ["demo"]
