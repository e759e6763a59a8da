package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestSpansHaveAtMostTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 1499 * time.Microsecond: "1ms", 999 * time.Millisecond: "999ms",
		999_600 * time.Microsecond: "1s", 1499 * time.Millisecond: "1s",
		59_700 * time.Millisecond: "1m", 60 * time.Second: "1m", 61 * time.Second: "1m1s",
		time.Hour - time.Millisecond: "1h", time.Hour: "1h", 90 * time.Minute: "1h30m",
		time.Hour + 59*time.Second: "1h", 24 * time.Hour: "1d", 49*time.Hour + time.Minute: "2d1h",
		400 * 24 * time.Hour: "400d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	now := time.Now()
	if got := age(now, time.Time{}) + " " + ago(now, time.Time{}); got != "never never" {
		t.Errorf("the age of no time is %q", got)
	}
	if got := ago(now, now.Add(-3*time.Second)); got != "3s ago" {
		t.Errorf("got %q", got)
	}
}

func TestSizesAndDurationsAreForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 64 << 20: "64MiB", 3 << 40: "3TiB",
		5000 << 40: "5000TiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "-", -1: "-", 150 * time.Microsecond: "0.1ms", 12345 * time.Microsecond: "12.3ms",
	} {
		if got := millis(d); got != want {
			t.Errorf("millis(%v) = %q, want %q", d, got, want)
		}
	}
	if got := percent(ratio(1, 3)) + " " + percent(ratio(1, 0)); got != "33.3% 0.0%" {
		t.Errorf("got %q", got)
	}
}

func TestATableIsAlignedWithoutTrailingBlanks(t *testing.T) {
	var b bytes.Buffer
	table := table(&b, "NAME STATE WHY")
	table.add("a", "healthy", "")
	table.add("ä-long-name", 7, "free text, however long it may be and whatever it holds")
	table.add("b", "", "two\nlines\tand \x1b[31mred")
	if err := table.flush("none"); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME         STATE    WHY\n" +
		"a            healthy  -\n" +
		"ä-long-name  7        free text, however long it may be and whatever it holds\n" +
		`b            -        two\nlines\tand \x1b[31mred` + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAnEmptyTableIsSaid(t *testing.T) {
	var b bytes.Buffer
	if err := table(&b, "A B").flush("no things"); err != nil || b.String() != "no things\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func FuzzNothingFromElsewhereReachesTheTerminalUnprinted(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "a\r\nb", "\u202e", "\x9b31m", "\xff", "ünï", "\u200b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i, r := range clean(s) {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %U at %d", clean(s), r, i)
			}
		}
		if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == '\\' }) < 0 &&
			clean(s) != strings.ToValidUTF8(s, "\uFFFD") {
			t.Fatalf("%q became %q, and all of it could be printed", s, clean(s))
		}
	})
}
