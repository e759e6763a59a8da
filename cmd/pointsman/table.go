package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// rows is a table in the making: cells in columns as wide as they need, without trailing
// blanks. The last column is for free text, however long.
type rows struct {
	out   io.Writer
	cells [][]string
}

// table starts a table with a head of column names.
func table(w io.Writer, head string) *rows {
	return &rows{out: w, cells: [][]string{strings.Fields(head)}}
}

// add appends a row; each value becomes one cell.
func (r *rows) add(values ...any) {
	row := make([]string, len(values))
	for i, v := range values {
		if row[i] = clean(fmt.Sprint(v)); row[i] == "" {
			row[i] = "-"
		}
	}
	r.cells = append(r.cells, row)
}

// flush writes the table, or none instead when it has no rows.
func (r *rows) flush(none string) error {
	if len(r.cells) == 1 {
		_, err := fmt.Fprintln(r.out, none)
		return err
	}
	widths := make([]int, len(r.cells[0]))
	for _, row := range r.cells {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range r.cells {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(r.out, b.String())
	return err
}

// clean makes text from elsewhere (reasons, names, what a server answered) safe to print on one
// line: control characters, which could move the cursor or rewrite the screen, are spelled out;
// bytes that are no text are replaced, for terminals take some for control characters.
func clean(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// age says how long ago something was, for people: 850ms, 12s, 3m10s, 5h2m, 3d4h.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t))
}

// ago is age as a phrase.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t)) + " ago"
}

// span prints a duration with at most two units, the second only when it is not zero.
func span(d time.Duration) string {
	if d = max(d, 0); d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	d = d.Round(time.Second)
	for _, u := range []struct {
		size, part time.Duration
		name, sub  string
	}{
		{24 * time.Hour, time.Hour, "d", "h"},
		{time.Hour, time.Minute, "h", "m"},
		{time.Minute, time.Second, "m", "s"},
	} {
		if d < u.size {
			continue
		}
		s := strconv.Itoa(int(d/u.size)) + u.name
		if rest := d % u.size / u.part; rest > 0 {
			s += strconv.Itoa(int(rest)) + u.sub
		}
		return s
	}
	return d.String()
}

// millis prints a short duration in milliseconds, or a dash for one that was not measured.
func millis(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
}

func short(hash string) string { return hash[:min(len(hash), 12)] }

func percent(share float64) string { return fmt.Sprintf("%.1f%%", share*100) }

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// size prints bytes in binary units.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return strings.Replace(fmt.Sprintf("%.1f%s", f, units[i]), ".0", "", 1)
}
