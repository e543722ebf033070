"""Between time and space: transformations that keep meaning, outputs and gradients alike. Each is IR -> IR.

batch      one instance -> n instances side by side along a new leading axis
blocks     one tick -> n ticks at a time
frames     streams of frames in blocks that frames fill
fold       a tensor function -> one row per tick, in line buffers and running sums
pipeline   a node -> stages that run at once, each on another tick
spread     what no recurrence needs row by row leaves a scan as whole tensors
"""
