package dnsserver

import "fmt"

// SerialTrap says what is wrong with the serial number of a version of a zone that follows on
// another: it went back (RFC 1982), or stayed while the content changed. Empty: nothing, or the
// serial is one that we derived from the content.
func SerialTrap(before, after *Zone) string {
	if before == nil || before.absent || after.absent || before.name != after.name ||
		after.freeSerial {
		return ""
	}
	was, is := before.Serial(), after.Serial()
	switch {
	case newer(is, was):
		return ""
	case is != was:
		return fmt.Sprintf("the serial went back from %d to %d", was, is)
	case same(before, after):
		return ""
	}
	return fmt.Sprintf("the content changed and the serial stayed %d", is)
}
