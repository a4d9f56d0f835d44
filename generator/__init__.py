"""Clip generators behind one queue and one worker process."""
