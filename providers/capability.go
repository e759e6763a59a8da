package providers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CheckBatch says whether a provider with these capabilities can be sent the batch as it is.
// The error is an *Error without a provider's name: Unsupported for a kind or a softness that
// the API lacks, TooLarge for more items than one call takes, Invalid for items that are
// missing or not normalised. An empty list never stands for everything.
func CheckBatch(caps Capabilities, b Batch) error {
	c, known := caps.Kinds[b.Kind]
	switch {
	case !known && !slices.Contains(Kinds(), b.Kind):
		return Refuse("", Invalid, "no such kind of purge: %q", b.Kind)
	case !c.Native:
		return Refuse("", Unsupported, "%s", reason(b.Kind, c))
	case b.Soft && !c.Soft:
		return Refuse("", Unsupported, "a purge by %s cannot be soft here: it only evicts", b.Kind)
	}
	return checkItems(c, b)
}

func checkItems(c Capability, b Batch) error {
	if b.Kind == Everything {
		if len(b.Items) != 0 {
			return Refuse("", Invalid, "a purge of everything takes no items, got %d", len(b.Items))
		}
		return nil
	}
	if len(b.Items) == 0 {
		return Refuse("", Invalid,
			"a purge by %s needs at least one item; an empty list is not everything", b.Kind)
	}
	if len(b.Items) > c.MaxBatch {
		return Refuse("", TooLarge, "%d items, and one call takes %d", len(b.Items), c.MaxBatch)
	}
	for _, item := range b.Items {
		n, err := Normalize(b.Kind, item)
		if err != nil {
			return Refuse("", Invalid, "%v", err)
		}
		if n != item {
			return Refuse("", Invalid, "%s is not normalised: want %q", show(item), n)
		}
	}
	return nil
}

func reason(k Kind, c Capability) string {
	s := fmt.Sprintf("this API cannot purge by %s", k)
	if k == Everything {
		s = "this API cannot purge everything"
	}
	if c.Note != "" {
		s += ": " + c.Note
	}
	return s
}

// Table writes the capabilities of vendors as a Markdown table, in the order of their names,
// with the notes numbered below it.
func Table(vendors map[string]Capabilities) string {
	var b, notes strings.Builder
	b.WriteString("| provider |")
	for _, k := range Kinds() {
		fmt.Fprintf(&b, " %s |", k)
	}
	b.WriteString(" propagation | status API | repeat key |\n| --- |")
	b.WriteString(strings.Repeat(" --- |", len(Kinds())+3) + "\n")
	n := 0
	for _, vendor := range slices.Sorted(maps.Keys(vendors)) {
		caps := vendors[vendor]
		fmt.Fprintf(&b, "| %s |", vendor)
		for _, k := range Kinds() {
			c := caps.Kinds[k]
			b.WriteString(" " + cell(k, c))
			if c.Note != "" {
				n++
				fmt.Fprintf(&b, " (%d)", n)
				fmt.Fprintf(&notes, "%d. %s, %s: %s\n", n, vendor, k, c.Note)
			}
			b.WriteString(" |")
		}
		fmt.Fprintf(&b, " %s | %s | %s |\n",
			propagation(caps), yes(caps.Confirms), yes(caps.RepeatKey))
	}
	if n > 0 {
		b.WriteString("\n" + notes.String())
	}
	return b.String()
}

func cell(k Kind, c Capability) string {
	if !c.Native {
		return "-"
	}
	s := "hard"
	if c.Soft {
		s = "hard, soft"
	}
	if k != Everything {
		s += fmt.Sprintf(", %d a call", c.MaxBatch)
	}
	return s
}

func propagation(c Capabilities) string {
	if c.Propagation == 0 {
		return "not stated"
	}
	return c.Propagation.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
