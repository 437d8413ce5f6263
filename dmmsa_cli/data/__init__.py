"""Datasets: what is known of them, how they are fetched, checked, stored and batched."""
