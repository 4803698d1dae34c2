"""Compile kernels named on standard input into Triton's cache: what launch.compile_all starts, several at a time."""

import pickle
import sys


def main() -> None:
    """Read a pickled list of launch.Source and compile each."""
    for source in pickle.load(sys.stdin.buffer):
        source.compile()


if __name__ == "__main__":
    main()
