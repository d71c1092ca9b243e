"""How good a reconstruction is: metrics, protocols on data sets, and their tables."""
