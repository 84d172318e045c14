"""The other side of a local installation: takes every mail and webhook that it sends out, and shows them.

Nothing leaves the machine; nothing here is used in production.
"""
