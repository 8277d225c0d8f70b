"""The kernels that pytest starts get the environment in which the stored outputs were made."""

from tools.execute import prepare

prepare()
