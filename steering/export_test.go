package steering

// Sequence is sequence, for tests that draw without a table.
func Sequence(host, place string) uint64 { return sequence(host, place) }
