"""The innermost loops of the data plane, in C: what costs most per reading, and nothing that could be said in numpy.

They get columns that were checked in Python and write into memory that was measured out there; nothing in C reads what
a home has sent. `hatch_build.py` compiles them when the package is installed.
"""
