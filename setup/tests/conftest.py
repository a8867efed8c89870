"""Makes the scripts of the set-up importable, last on the path: they bear the names of what they set up."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
