"""The end of a clip that memory does not hold yet, from which the next one may go on already."""

from collections.abc import Callable

from ..generator.queue import Made
from ..generator.requests import ClipRequest
from .director import Director, Tail


class EarlyTail:
    """Keeps the director's early tail. On the session's thread.

    Args:
        director: The present one.
    """

    def __init__(self, director: Callable[[], Director]) -> None:
        self._director = director
        self._tail: Tail | None = None

    def take(self, made: Made, request: ClipRequest | None) -> None:
        """Let the next clip go on from the last frames of one that was made.

        Args:
            made: What was made.
            request: Its request, or None if it is not waited for any more.
        """
        director = self._director()
        if made.tail is None or request is None or director.wants_key_views:
            return
        poses = request.world_T_camera[-len(made.tail) :]
        self._tail = director.early = Tail(made.request_id, made.tail, poses, is_early=True)

    def forget(self) -> None:
        """Go on from no clip that is not merged, where places moved or the clip will never be."""
        self._tail = self._director().early = None

    def forget_of(self, request_id: int) -> None:
        """The same for one clip, which will never be merged."""
        if self._tail is not None and self._tail.request_id == request_id:
            self.forget()

    def merged(self, request_id: int) -> None:
        """A clip's tail with the poses that it was merged with comes instead."""
        early = self._director().early
        if early is not None and early.request_id == request_id:
            self._director().early = None

    def is_current(self, tail: Tail | None) -> bool:
        """Whether a draft's tail still is what it was when the draft was made."""
        return tail is None or not tail.is_early or tail is self._tail
