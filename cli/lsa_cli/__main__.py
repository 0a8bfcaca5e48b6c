"""``python -m lsa_cli``."""

from lsa_cli.main import main

if __name__ == "__main__":
    main()
