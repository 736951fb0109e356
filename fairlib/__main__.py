"""``fairlib`` and ``python -m fairlib``: the command line, where Ctrl-C is answered even while it is being imported."""

import sys


def main() -> int:
    """Run the command line."""
    try:
        from fairlib.cli import main
    except KeyboardInterrupt:
        print("fairlib: stopped; what was computed so far is kept.", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(main())
