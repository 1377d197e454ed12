"""Large routines on plain arrays: convolution, columns, pooling. They know no graph."""
