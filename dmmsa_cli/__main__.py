"""`python -m dmmsa_cli`."""

from dmmsa_cli.cli import main

if __name__ == "__main__":
    main()
