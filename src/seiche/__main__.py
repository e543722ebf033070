"""`python -m seiche` is the command `seiche`."""

from seiche.cli.main import main

main()
