"""Frames as points: what a network sees in them, which kinds there are, and which are like no other."""
