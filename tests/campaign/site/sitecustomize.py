"""Loaded by every process that the campaign starts: aims a kill where the environment asks for one."""

import importlib.util
import json
import os
from pathlib import Path

if "TOKENGYM_CAMPAIGN_AIM" in os.environ:
    path = Path(__file__).resolve().parents[1] / "aim.py"
    spec = importlib.util.spec_from_file_location("campaign_aim", path)
    assert spec is not None and spec.loader is not None
    aim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(aim)
    aim.install(**json.loads(os.environ["TOKENGYM_CAMPAIGN_AIM"]))
