"""Mutation testing: one small change of the code at a time, and whether a test notices (`make mutants`).

`operators.py` says what is changed, `mutants.py` lists and draws, `lines.py` and `reach.py` know which tests run a
line, `trying.py` runs them, `report.py` tells what came of it, `__main__.py` is the command. `equivalent.txt` names
the mutants that no test can notice.
"""
