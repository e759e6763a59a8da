package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in the configuration file; Line and Col count from 1.
type Position struct {
	Line, Col int
}

// Finding is a mistake or a warning with its place.
type Finding struct {
	// File is the configuration file. For a value that did not come from the file it names
	// the source instead: the environment variable or, after "flag ", the key that a flag
	// set; for a mistake in a zone file, that file.
	File string `json:"file"`
	// Line and Col count from 1 and are 0 when the value did not come from the file. In a zone
	// file Col is 0.
	Line int `json:"line,omitempty"`
	Col  int `json:"col,omitempty"`
	// Path is the key, as in pools[0].members[1].weight; empty for the file as a whole.
	Path string `json:"path,omitempty"`
	// Message says what is wrong, and what would be right where that is not plain.
	Message string `json:"message"`
	// Suggestion is what was probably meant; empty when nothing is close.
	Suggestion string `json:"suggestion,omitempty"`
}

// String renders the finding as one line: file:line:col: path: message, did you mean …? What
// it lacks is left out.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Col > 0 {
		fmt.Fprintf(&b, ":%d", f.Col)
	}
	if f.Path != "" {
		b.WriteString(": " + f.Path)
	}
	b.WriteString(": " + f.Message)
	if f.Suggestion != "" {
		b.WriteString(", did you mean " + f.Suggestion + "?")
	}
	return b.String()
}

// maxFindings bounds a report: a file of a megabyte can hold 100,000 mistakes, and nobody
// reads more than a screenful at a time.
const maxFindings = 200

// Report is what Load found, in the order of the file; findings from the environment and from
// flags come last.
type Report struct {
	// Mistakes make a configuration unusable.
	Mistakes []Finding
	// Warnings name known traps in a usable one.
	Warnings []Finding
	// Omitted counts mistakes beyond the first 200.
	Omitted int
	// Source locates paths, for findings of other packages. Never nil.
	Source *Source
}

// Error is why there is no Config. It is immutable.
type Error struct {
	// Mistakes is never empty.
	Mistakes []Finding
	// Omitted counts mistakes beyond those listed.
	Omitted int
}

// Error lists the mistakes, one a line.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Mistakes)+1)
	for _, m := range e.Mistakes {
		lines = append(lines, m.String())
	}
	if e.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more mistakes", e.Omitted))
	}
	return strings.Join(lines, "\n")
}

func (r *Report) add(f Finding) {
	if len(r.Mistakes) >= maxFindings {
		r.Omitted++
		return
	}
	r.Mistakes = append(r.Mistakes, f)
}

// finish sorts the findings and returns the error that the mistakes amount to, or nil.
func (r *Report) finish() error {
	for _, list := range [][]Finding{r.Mistakes, r.Warnings} {
		slices.SortStableFunc(list, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(outside(a), outside(b)), cmp.Compare(a.Line, b.Line),
				cmp.Compare(a.Col, b.Col), cmp.Compare(a.Path, b.Path))
		})
	}
	if len(r.Mistakes) == 0 {
		return nil
	}
	return &Error{Mistakes: r.Mistakes, Omitted: r.Omitted}
}

// outside is 1 for findings that have no place in the file, so that they sort last.
func outside(f Finding) int {
	if f.Line == 0 {
		return 1
	}
	return 0
}
