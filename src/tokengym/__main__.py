"""`python -m tokengym`: the same as the command `tokengym`."""

from .experiments.commands.main import main  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    raise SystemExit(main())
