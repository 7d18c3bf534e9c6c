"""Many processes, killed ones, servers that die in the middle; judged afterwards from what everybody wrote down."""
