"""Tuning, room by room.

plan.py         what is tuned: recipe, space, seeds or folds; what makes two tunings the same
journal.py      Optuna's study in a file: asked, reported to, judged; several processes share it
trial.py        one trial: its runs, their course, their score
luck.py         what of a gain is left on fresh seeds
recipe_file.py  the recipe that comes of it, and how it was found
"""
