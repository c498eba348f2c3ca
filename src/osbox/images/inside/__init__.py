"""Scripts that run inside an image, with its own Python; nothing of osbox is there."""

from pathlib import Path

SCRIPTS = Path(__file__).parent
