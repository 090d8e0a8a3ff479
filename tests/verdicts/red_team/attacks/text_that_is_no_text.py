# Text that is neither UTF-8 nor JSON.
# outcome: failed
# observation: \udcff, \x00 and \x1b[31m

raise ValueError('\udcff, \0 and \x1b[31m')
