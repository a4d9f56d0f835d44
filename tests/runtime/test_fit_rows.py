"""The screen's details say how a clip fitted, and which test said no."""

from spatia.runtime.fit_rows import fit_rows
from spatia.world.updates import UpdateReport


def test_scale_and_what_moved_are_told_by_what_found_it():
    tests = {"moving_marked": 0.0, "moving_by_space": 0.02, "moving_by_color": 0.005}
    rows = dict(fit_rows(UpdateReport("multiview", scale=1.02, moving_share=0.021, tests=tests)))
    assert "1.020" in rows["fit"]
    assert rows["moving"] == "2.1 %, 2.0 by space, 0.5 by colour"


def test_depth_that_memory_refutes_is_told():
    rows = dict(fit_rows(UpdateReport("given", moving_share=0.04, tests={"refuted_by_evidence": 0.04})))
    assert rows["moving"] == "4.0 %, 4.0 wrong depth by evidence"


def test_a_rejection_names_its_test():
    report = UpdateReport("given", "does not fit memory: it would move", tests={"rejected_by_translation": 1.0})
    assert ("rejected by translation", "does not fit memory: it would move") in fit_rows(report)


def test_frames_that_were_left_out_are_counted():
    assert ("frames left out", "2") in fit_rows(UpdateReport("given", tests={"frames_rejected": 2.0}))
