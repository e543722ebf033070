"""A keyword spotter that listens sample by sample and is trained on whole utterances: one model in both forms."""
