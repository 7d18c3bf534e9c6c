"""`python -m queuekit`: the command line, also where the installed command is not on the path."""

from queuekit.cli.door import main

if __name__ == "__main__":
    main()
