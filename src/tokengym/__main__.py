"""`python -m tokengym`: the same as the command `tokengym`."""

from tokengym.experiments.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
