"""Files of a tuning's folder, `runs/<dataset>/tuning/<name>/`, and how Optuna is had."""

TUNING = "tuning"  # folder of a dataset's tunings, beside those of its recipes
FACTS = "tuning.json"  # what is tuned, and with what
JOURNAL = "journal.jsonl"  # Optuna's study
RESULT = "result.json"  # what came of it, once it has ended

INSTALL = "pip install 'dmmsa[tune]', which brings Optuna."
