# GeneratorExit, which is no Exception.
# outcome: failed, exited

raise GeneratorExit
