"""What can go wrong between a person and a running stack, each told in one sentence.

StackError            the stack cannot do what was asked; the message says why and where to look
└── MissingPiece      a program is not on this machine; the message carries the line to type
"""


class StackError(Exception):
    """The stack cannot do what was asked."""


class MissingPiece(StackError):
    """A program is not on this machine, and we may not install it."""
