from seiche.cli.load import node_of


def program():
    node_of("no_such_file.py:learner")
