"""The course of a training, whatever learns: batches and checks, its state and its folder on disk, its processes."""
