"""Train, evaluate and compare systems for multimodal sentiment analysis."""

__version__ = "0.1.0"
