"""The programs that the README and the front page show do run."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", ["README.md", "index.md"])
def test_the_first_program_on_the_page_runs(page: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    rng = np.random.default_rng(0)
    table = {"X": rng.normal(size=(30, 2)), "y": rng.normal(size=30), "task": np.repeat(["a", "b", "c"], 10)}
    exec(program, table)
    assert table["P"].shape == (len(table["tasks"]),) * 2
