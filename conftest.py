"""The kernels that pytest starts get the environment in which the stored outputs were made."""

import os

from tools.execute import ENVIRONMENT

os.environ.update(ENVIRONMENT)
