import os


# Nothing in the tests may reach the real Hub; those of the Hub start a local one and processes of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch


torch.set_num_threads(1)
