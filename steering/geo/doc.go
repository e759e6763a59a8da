// Package geo says where a client prefix is, and how wide that statement holds. A country
// table (the built-in one, or a file) flows in; a Locator comes out, and, for the places of one
// steered name, Classes: sorted ranges in which every address belongs to the same place. Both
// are immutable and read by any number of goroutines. Only Source.Run owns a goroutine's work:
// it watches a file that replaces the built-in table.
package geo
