// Package nearest finds which name somebody probably meant. A word and the names that there are
// flow in, one of them flows out. It owns no goroutine.
package nearest

import "strings"

// Longest is the longest word that a name is sought for, in bytes: distance takes time in
// proportion to the product of the lengths.
const Longest = 64

// Name returns the candidate that word was probably meant to be, or "" when none is close: at
// most a third of the longer word's letters may differ, upper and lower case, blanks, hyphens
// and underscores aside. Of those equally close it is the first.
func Name(word string, candidates []string) string {
	if len(word) > Longest {
		return ""
	}
	fold := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
	}
	best, found := 0, ""
	for _, c := range candidates {
		if len(c) > 2*Longest || c == word {
			continue
		}
		if fold(c) == fold(word) {
			return c
		}
		d := distance(fold(word), fold(c))
		if limit := max(len(fold(word)), len(fold(c))) / 3; d <= limit && (found == "" || d < best) {
			best, found = d, c
		}
	}
	return found
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn
// a into b, none of them overlapping (optimal string alignment, a restricted
// Damerau-Levenshtein distance).
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
