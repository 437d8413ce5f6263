"""Tuning, room by room.

names.py        which files there are; words.py, what is said of a tuning in more than one place
plan.py         what is tuned: recipe, space, seeds or folds; what makes two tunings the same
journal.py      Optuna's study in a file: asked, reported to, judged; several processes share it
trial.py        one trial: its runs, their course, their score
luck.py         what of a gain is left on fresh seeds
recipe_file.py  the recipe that comes of it, and how it was found
"""
