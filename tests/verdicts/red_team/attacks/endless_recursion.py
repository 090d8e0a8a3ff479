# Endless recursion.
# outcome: failed
# observation: RecursionError

def again():
    again()
again()
