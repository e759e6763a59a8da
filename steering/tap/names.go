package tap

import "strconv"

// typeName is a query type as people write it; those that are seldom asked of steered names have
// the form of RFC 3597 §5.
func typeName(qtype uint16) string {
	switch qtype {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 255:
		return "ANY"
	}
	return "TYPE" + strconv.Itoa(int(qtype))
}

// codeName is a response code as people write it (RFC 1035 §4.1.1, RFC 2136 §2.2).
func codeName(rcode byte) string {
	switch rcode {
	case 0:
		return "NOERROR"
	case 1:
		return "FORMERR"
	case 2:
		return "SERVFAIL"
	case 3:
		return "NXDOMAIN"
	case 5:
		return "REFUSED"
	case 6:
		return "YXDOMAIN"
	}
	return "RCODE" + strconv.Itoa(int(rcode))
}
