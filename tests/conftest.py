"""What all tests share."""

import os

os.environ["SPATIA_NICENESS"] = "0"  # nobody walks here; a worker that stands back makes tests wait on a busy machine
