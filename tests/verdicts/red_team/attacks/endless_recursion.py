# Endless recursion.
# outcome: failed
# says: RecursionError

def again():
    again()
again()
