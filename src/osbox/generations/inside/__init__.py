"""What runs in a container that has the volumes, with the image's own Python; nothing of osbox is there."""

from pathlib import Path

SCRIPTS = Path(__file__).parent
