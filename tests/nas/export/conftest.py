"""What the tests of exports share: `written_networks` can be imported beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
