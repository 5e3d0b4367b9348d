"""The pages of the rooms: their code runs as it stands there, their sweep files are read."""

import re
import sys
from pathlib import Path

import pytest

from raynas_snn.config import load_sweep

PACKAGE = Path(__file__).parents[2] / "raynas_snn"
BLOCK = re.compile(r"```(python|yaml)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")  # the first line of a block that is a file of its own


@pytest.mark.parametrize("room", ["data", "nas", "training"])
def test_the_code_of_a_page_runs(room, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    loaded, names = set(sys.modules), {}
    for number, (language, text) in enumerate(BLOCK.findall((PACKAGE / room / "README.md").read_text())):
        if language == "yaml":
            sweep = tmp_path / f"{number}.yaml"
            sweep.write_text(text)
            load_sweep(sweep, ())
        elif name := FILE.match(text):
            (tmp_path / name[1]).write_text(text)
        else:
            exec(text, names)
    for module in set(sys.modules) - loaded:
        if getattr(sys.modules[module], "__file__", None) and tmp_path in Path(sys.modules[module].__file__).parents:
            del sys.modules[module]
