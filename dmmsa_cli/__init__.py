"""Train, evaluate and compare systems for multimodal sentiment analysis."""

from dmmsa_cli import threads

__version__ = "0.1.0"

threads.settle()  # before anything imports torch
