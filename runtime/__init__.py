"""The session, its loops, the public façade and the command line."""
