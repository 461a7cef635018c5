"""What the tests of retraining share: `toy_task` and the drawing of ImageNet-like files can be imported beside them."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "benchmarks")]
