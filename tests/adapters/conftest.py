"""Helpers of this folder are importable: ``from side_paths import adapter``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
