# 10 GB at once.
# outcome: out_of_memory
# says: OUT OF MEMORY

bytearray(10 << 30)
