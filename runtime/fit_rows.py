"""How a clip fitted memory, in words: rows of the details on the screen."""

from ..world.updates import UpdateReport

REJECTED_BY = "rejected_by_"
TOLD_BY = (
    ("moving_marked", "marked"),
    ("moving_by_space", "by space"),
    ("moving_by_color", "by colour"),
    ("refuted_by_evidence", "wrong depth by evidence"),
)
"""Shares of a clip that stay out of memory, by what told so."""


def fit_rows(report: UpdateReport) -> list[tuple[str, str]]:
    """Scale, pose correction, what moved, and which test rejected what."""
    tests = report.tests
    scale = f"scale {report.scale:.3f}, moved by {100 * report.pose_correction_m:.1f} cm"
    rows = [("fit", scale), ("moving", _moving(report))]
    names = [name.removeprefix(REJECTED_BY) for name, value in tests.items() if name.startswith(REJECTED_BY) and value]
    frames = round(tests.get("frames_rejected", 0.0))
    if report.rejected:
        rows.append((f"rejected by {', '.join(names) or 'a test'}", report.rejected[:60]))
    elif frames:
        rows.append(("frames left out", str(frames)))
    return rows


def _moving(report: UpdateReport) -> str:
    parts = [f"{100 * report.moving_share:.1f} %"]
    for name, text in TOLD_BY:
        if report.tests.get(name, 0.0) > 0:
            parts.append(f"{100 * report.tests[name]:.1f} {text}")
    return ", ".join(parts)
