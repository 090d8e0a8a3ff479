# 10 GB at once.
# outcome: out_of_memory
# observation: OUT OF MEMORY

bytearray(10 << 30)
