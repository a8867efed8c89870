"""The innermost loops of a writer, in C: one pass over memory where numpy takes one for each step.

Python checks rows, lengths and room before each call, and no byte that a home has sent decides where C reads or writes:
it is copied, or compared with a tag. `hatch_build.py` compiles them when the package is installed.
"""
