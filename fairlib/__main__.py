"""``fairlib`` and ``python -m fairlib``: the command line, where Ctrl-C is answered even while it is being imported."""

import os
import sys


def main() -> int:
    """Run the command line."""
    # Of many small products threads wait longer than they compute: waiting actively, they took as much processor again.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from fairlib.cli import main
    except KeyboardInterrupt:
        print("fairlib: stopped; what was computed so far is kept.", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(main())
