package cloudflare

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/providers"
)

// fault is one entry of an answer's errors, with its causes.
type fault struct {
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Chain   []fault `json:"error_chain"`
}

// envelope is what every answer of the API is wrapped in.
type envelope struct {
	Success *bool   `json:"success"`
	Errors  []fault `json:"errors"`
}

// taken reads a 2xx: only a body that says success means it.
func (p *Provider) taken(c providers.Call, a providers.Answer) error {
	var out envelope
	if err := a.Decode(&out); err != nil {
		return p.http.Unreadable(c, a, err.Error())
	}
	if out.Success == nil {
		return p.http.Unreadable(c, a, "the answer does not say whether it succeeded")
	}
	if !*out.Success {
		e := p.http.Refused(c, a, words(out.Errors))
		if e.Class = classOf(http.StatusBadRequest, out.Errors); e.Class != providers.Auth {
			e.Class = providers.Transient // undocumented with a 2xx, so nothing is final
		}
		return e
	}
	return nil
}

// refused reads any other status: the status decides, the codes are for people but for the
// few that tell bad credentials in a 400.
func (p *Provider) refused(c providers.Call, a providers.Answer) *providers.Error {
	var out envelope
	_ = a.Decode(&out) // what does not parse has no words and no codes
	e := p.http.Refused(c, a, words(out.Errors))
	switch {
	case e.Class == providers.Throttled && e.RetryAfter == 0:
		e.RetryAfter = reset(a.Header.Values("Ratelimit"))
	case a.IsHTML() && !e.Temporary() && e.Class != providers.TooLarge && a.Status >= 400:
		// A page for people is the edge before the API speaking, whatever status it chose.
		e.Class, e.Unknown = providers.Transient, true
	case a.Status == http.StatusBadRequest:
		e.Class = classOf(a.Status, out.Errors)
	}
	e.RetryOnce = a.Status == http.StatusUnauthorized && slices.Contains(codes(out.Errors), 10000)
	return e
}

// classOf tells credentials that are missing or malformed from other bad requests.
func classOf(status int, errs []fault) providers.Class {
	for _, code := range codes(errs) {
		switch code {
		case 9106, // no credentials
			6102, 6103, 6111, // a malformed X-Auth-Email, X-Auth-Key, Authorization
			9109, 10000: // not good for this zone; not good at all
			return providers.Auth
		}
	}
	return providers.ClassOf(status)
}

func codes(errs []fault) []int {
	var out []int
	for _, f := range errs {
		out = append(append(out, f.Code), codes(f.Chain)...)
	}
	return out
}

func words(errs []fault) string {
	var out []string
	for _, f := range errs {
		s := fmt.Sprintf("%d %s", f.Code, f.Message)
		if chain := words(f.Chain); chain != "" {
			s += " (" + chain + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

// reset reads t, the seconds until more is allowed, from the limits in Ratelimit headers such
// as `"default";r=0;t=12` that have nothing left; the longest of them counts.
func reset(headers []string) time.Duration {
	longest := 0
	for policy := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		left, wait := -1, 0
		for param := range strings.SplitSeq(policy, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			n, err := strconv.Atoi(value)
			switch {
			case err != nil:
			case name == "r":
				left = n
			case name == "t":
				wait = n
			}
		}
		if left == 0 {
			longest = max(longest, wait)
		}
	}
	return time.Duration(min(longest, 3600)) * time.Second
}
