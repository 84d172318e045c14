"""Real engines and every service on one machine, without Docker, Java or root.

The modules import nothing beyond the standard library, so that setting up works on a bare Python and `make status`
is quick.
"""
