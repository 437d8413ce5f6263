"""From a recipe to something that can be trained, or asked; each room uses only those above it in this list.

recipes.py      what a recipe holds, and where recipes lie
studies.py      variants of a recipe that stand in one table
experiment.py   dataset + recipe + place, and plain questions about the three
rows.py         which rows of a split a run of this seed and fraction uses
base_text.py    the text encoder before any training here
encoders.py     fresh, pretrained and loaded encoders; where a pretrained one lies, and what decides it
cache.py        what a frozen text encoder gave, on disk, and its key
inputs.py       each modality as the model reads it: of a split, or of a file to predict
build.py        model and objective from the recipe: the one builder
identity.py     what a run is: one type, its differences in words; nothing else decides 'the same'
systems.py      runs that differ in their seed alone, and names for those that differ in more
reopen.py       a run's folder -> its model again, once its identity has been checked
"""
