package edge

import (
	"strconv"
	"strings"
)

// byteRange is a part of a body: from the first offset up to, not including, the second.
type byteRange struct{ from, to int64 }

// contentRange is the value of Content-Range for a part of size bytes.
func (r byteRange) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(r.from, 10) + "-" + strconv.FormatInt(r.to-1, 10) + "/" +
		strconv.FormatInt(size, 10)
}

type rangeVerdict uint8

const (
	rangeNone          rangeVerdict = iota // no range, or one to be ignored: send the whole
	rangeOK                                // send the part
	rangeUnsatisfiable                     // 416
)

// parseRange reads a Range field for a body of size bytes (RFC 9110 §14.1.2). One that is
// malformed, in another unit or of several parts is ignored, which §14.2 allows.
func parseRange(lines []string, size int64) (byteRange, rangeVerdict) {
	if len(lines) != 1 {
		return byteRange{}, rangeNone
	}
	unit, set, ok := strings.Cut(lines[0], "=")
	if !ok || !strings.EqualFold(unit, "bytes") || strings.Contains(set, ",") {
		return byteRange{}, rangeNone
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return byteRange{}, rangeNone
	}
	if first == "" {
		return suffix(last, size)
	}
	from, ok := offset(first)
	if !ok {
		return byteRange{}, rangeNone
	}
	to := size
	if last != "" {
		end, ok := offset(last)
		if !ok || end < from {
			return byteRange{}, rangeNone
		}
		to = min(size, end+1)
	}
	if from >= size {
		return byteRange{}, rangeUnsatisfiable
	}
	return byteRange{from, to}, rangeOK
}

// suffix reads a range of the last n bytes.
func suffix(s string, size int64) (byteRange, rangeVerdict) {
	n, ok := offset(s)
	switch {
	case !ok:
		return byteRange{}, rangeNone
	case n == 0 || size == 0:
		return byteRange{}, rangeUnsatisfiable
	}
	return byteRange{max(0, size-n), size}, rangeOK
}

// offset reads digits; more than 18 of them are no offset in anything.
func offset(s string) (int64, bool) {
	if s == "" || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
