"""Faults of the generator folder.

GeneratorError
├── MissingExtraError      a generator needs a library that is not installed; the message names the extra
├── UnusableModelError     a model is there but cannot be used; another try would fail as well
│   └── TooLittleMemoryError  it does not fit; the message says what it needs and what would fit
├── GarbageClipError       a generator gave back something that is not the clip that was asked for
└── TransportError         a message between the session and its worker cannot be understood
    └── ChannelClosedError the other side is gone
"""


class GeneratorError(Exception):
    """Base of the folder's faults."""


class MissingExtraError(GeneratorError, ImportError):
    """A generator needs a library that is not installed; the message names the extra that brings it."""


class UnusableModelError(GeneratorError):
    """A generator's model is there but cannot be used as it is; another try would fail as well."""


class TooLittleMemoryError(UnusableModelError):
    """A model does not fit into memory; the message says what it needs, what is there and what would fit."""


class GarbageClipError(GeneratorError):
    """A generator gave back something that is not the clip that was asked for."""


class TransportError(GeneratorError):
    """A message between the session and its worker cannot be understood."""


class ChannelClosedError(TransportError):
    """The other side is gone."""
