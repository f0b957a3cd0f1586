"""Write the page: ``python -m tokengym.experiments.audit.pages``, with parts of names those rows alone."""

from __future__ import annotations

import sys

from .writing import main

if __name__ == "__main__":
    main(sys.argv[1:])
