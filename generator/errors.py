"""Faults of the generator folder.

GeneratorError
├── MissingExtraError      a generator needs a library that is not installed; the message names the extra
├── GarbageClipError       a generator gave back something that is not the clip that was asked for
└── TransportError         a message between the session and its worker cannot be understood
    └── ChannelClosedError the other side is gone
"""


class GeneratorError(Exception):
    """Base of the folder's faults."""


class MissingExtraError(GeneratorError, ImportError):
    """A generator needs a library that is not installed; the message names the extra that brings it."""


class GarbageClipError(GeneratorError):
    """A generator gave back something that is not the clip that was asked for."""


class TransportError(GeneratorError):
    """A message between the session and its worker cannot be understood."""


class ChannelClosedError(TransportError):
    """The other side is gone."""
