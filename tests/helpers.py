"""What several tests use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = ROOT / "tests" / "goldens"
CONFIGS = ROOT / "configs"
