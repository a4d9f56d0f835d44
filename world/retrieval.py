"""Which frames see the same surface as the path ahead: greedily by shared surface, or one-to-one as the release does.

Both work on marks of which points each view sees, (views, points) bool over the same points.
"""

import numpy as np
import numpy.typing as npt

MAX_REFERENCES = 7


def select_greedy(
    target_visible: npt.NDArray[np.bool_],
    candidate_visible: npt.NDArray[np.bool_],
    k: int = MAX_REFERENCES,
    epsilon: float = 0.0,
) -> list[int]:
    """Choose references greedily by the overlap of seen surface (Algorithm 1 of the Spatia paper).

    The pair of a target and a candidate with the largest overlap, |both see| / |either sees|, gives the next
    reference; the target then waits until every other target had its turn, so that the whole path is served.

    Args:
        target_visible: (T, N) bool, what the path's frames see.
        candidate_visible: (C, N) bool, what the candidates see.
        k: Most references.
        epsilon: Overlap must be larger.

    Returns:
        Up to k different candidate indices, in order of choice. Ties go to the earlier target, then candidate.

    Raises:
        ValueError: The marks are not over the same points.
    """
    shared = count_shared(target_visible, candidate_visible)
    either = target_visible.sum(1)[:, None] + candidate_visible.sum(1)[None, :] - shared
    overlap = shared / np.maximum(either, 1)
    waiting = np.zeros(len(overlap), np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, overlap.shape[1]) and len(overlap):
        allowed = np.where(waiting[:, None], -1.0, overlap)
        allowed[:, chosen] = -1.0
        target, candidate = np.unravel_index(int(np.argmax(allowed)), allowed.shape)
        if allowed[target, candidate] <= epsilon:
            if not waiting.any():
                break
            waiting[:] = False
            continue
        chosen.append(int(candidate))
        waiting[target] = True
        if waiting.all():
            waiting[:] = False
    return chosen


def assign_one_to_one(
    target_visible: npt.NDArray[np.bool_], candidate_visible: npt.NDArray[np.bool_], k: int = MAX_REFERENCES
) -> list[int]:
    """Give each target a candidate of its own, maximising the sum of shared points (Hungarian), as the release does.

    The release multiplies the marks in bfloat16, so counts are rounded to 8 significant bits; so they are here.

    Args:
        target_visible: (T, N) bool.
        candidate_visible: (C, N) bool, C >= T.
        k: How many to keep, in the order of the targets.

    Returns:
        Candidate indices of the first k targets.

    Raises:
        ValueError: More targets than candidates, or the marks are not over the same points.
    """
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second to import

    shared = count_shared(target_visible, candidate_visible)
    if shared.shape[0] > shared.shape[1]:
        raise ValueError(
            f"one-to-one: expected at least as many candidates as targets, got {shared.shape[1]} for {shared.shape[0]}"
        )
    _, candidates = linear_sum_assignment(round_to_bfloat16(shared), maximize=True)
    return [int(c) for c in candidates[:k]]


def count_shared(
    target_visible: npt.NDArray[np.bool_], candidate_visible: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """(T, C) int64: how many points each target and candidate both see.

    Raises:
        ValueError: The marks are not two tables over the same points.
    """
    if target_visible.ndim != 2 or candidate_visible.ndim != 2 or target_visible.shape[1] != candidate_visible.shape[1]:
        raise ValueError(
            f"marks: expected (T, N) and (C, N) over the same points, got {target_visible.shape} and "
            f"{candidate_visible.shape}"
        )
    # float32 is exact up to 2^24 points and multiplied by fast kernels, which integers are not
    kind = np.float32 if target_visible.shape[1] < 1 << 24 else np.float64
    return np.rint(target_visible.astype(kind) @ candidate_visible.astype(kind).T).astype(np.int64)


def round_to_bfloat16(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Round to the nearest number with 8 significant bits, ties to even; float32 that bfloat16 holds exactly."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)
