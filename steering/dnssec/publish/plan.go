package publish

import (
	"slices"

	"pointsman/steering/dnssec"
)

// maxSmall is how many chunks below a quarter of the full size there may be.
const maxSmall = 32

// plan divides signatures over chunks. Old chunks stay as they are as long as half of what they
// hold is in use and small ones are few, so that a round of signing writes little more than
// what it signed. It returns those that stay and those to be written.
func plan(old []chunk, sigs []dnssec.Signature) (stay, fresh []chunk) {
	open := make(map[dnssec.Signature]bool, len(sigs)) // those that no chunk has yet
	for _, s := range sigs {
		open[s] = true
	}
	used := make([]int, len(old))
	small := 0
	for i, c := range old {
		for _, s := range c.sigs {
			if open[s] {
				used[i]++
			}
		}
		if used[i] > 0 && used[i] < perChunk/4 {
			small++
		}
	}
	for i, c := range old {
		again := 2*used[i] < len(c.sigs) || used[i] == 0
		if again || small > maxSmall && used[i] < perChunk/4 {
			continue
		}
		stay = append(stay, c)
		for _, s := range c.sigs {
			delete(open, s)
		}
	}
	rest := slices.DeleteFunc(slices.Clone(sigs), func(s dnssec.Signature) bool { return !open[s] })
	for part := range slices.Chunk(rest, perChunk) {
		fresh = append(fresh, newChunk(part))
	}
	return stay, fresh
}
