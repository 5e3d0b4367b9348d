"""One thread per process: tensors here are tiny, and threads that wait for each other cost more than they bring."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is first imported, also by processes that tests start
