"""Mistakes of the user, as the command line reports them.

UserError(ValueError)   what was expected, what came, what to do; exit status 2
"""


class UserError(ValueError):
    """A mistake that the user can mend.

    Args:
        expected: What should have come.
        got: What came.
        advice: What to do about it.
    """

    def __init__(self, expected: str, got: str, advice: str) -> None:
        super().__init__(f"expected {expected}\ngot {got}\n{advice}")
