"""The command line."""


def main() -> None:
    """Replaced by the real command line in this slice."""
