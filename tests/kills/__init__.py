"""A thousand SIGKILLs at random moments: nothing is lost, nothing corrupt, and every result that of an undisturbed run.

cases.py                  which commands, on what, how many kills each (`make kills` runs them all)
campaign.py               kill a command until it ends by itself, again and again; look at what each kill leaves
moments.py                when a command is killed, and which of its processes
remains.py                what lies in a folder: can all of it be read, and is it what an undisturbed run leaves?
warm.py                   a process that has imported everything already, and forks the commands
inside/sitecustomize.py   what a command's processes carry in them, so as to die in the middle of writing
"""
