package providers

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pointsman/internal/secret"
)

// MaxMessage is the most bytes of a vendor's words that an Error keeps.
const MaxMessage = 300

// maxWait bounds what a provider may make us wait by a hint. No documented limit counts over
// more than an hour, so a longer hint is a mistake or a clock that is wrong.
const maxWait = time.Hour

// ClassOf sorts an HTTP status that is not a success. The body may overrule it where a vendor's
// documentation says so.
func ClassOf(status int) Class {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return Auth
	case http.StatusNotFound:
		return NotFound
	case http.StatusRequestEntityTooLarge:
		return TooLarge
	case http.StatusTooManyRequests:
		return Throttled
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return Transient
	}
	if status >= 300 && status < 500 {
		return Invalid // a redirect too: the base URL is wrong, and credentials stay here
	}
	return Transient
}

// RetryAfter reads how long a Retry-After header asks to wait, in seconds or as a date
// (RFC 9110 §10.2.3). It is 0 without a usable header, and never more than an hour.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		return clampWait(time.Duration(min(max(s, 0), int64(maxWait/time.Second))) * time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return clampWait(at.Sub(now))
	}
	return 0
}

// Until is how long to wait for a Unix time in seconds that a vendor's header names. It is 0
// when the text is no time or has passed, and never more than an hour.
func Until(unixSeconds string, now time.Time) time.Duration {
	s, err := strconv.ParseInt(strings.TrimSpace(unixSeconds), 10, 64)
	if err != nil || s <= 0 {
		return 0
	}
	return clampWait(time.Unix(s, 0).Sub(now))
}

// Now is the time by the answering server's Date header, so that a header with an absolute
// time is read by the clock that wrote it. Without a Date it is the time here.
func Now(h http.Header) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at
	}
	return time.Now()
}

func clampWait(d time.Duration) time.Duration { return min(max(d, 0), maxWait) }

// Clean makes a vendor's words fit to show: one line, without the credentials, valid UTF-8, at
// most MaxMessage bytes.
func Clean(text string, hide ...secret.String) string {
	for _, s := range hide {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), secret.Redacted)
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= MaxMessage {
		return text
	}
	end := MaxMessage - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// Refuse makes an Error about a batch that was not sent at all.
func Refuse(provider string, class Class, format string, args ...any) *Error {
	return &Error{
		Provider: provider, Operation: "checking the batch", Class: class,
		Message: Clean(fmt.Sprintf(format, args...)),
	}
}

// Named puts a provider's name on an *Error that has none yet, such as one from CheckBatch, and
// returns err.
func Named(provider string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Provider == "" {
		e.Provider = provider
	}
	return err
}

// Scrub returns err as it is when its text does not hold the credential, otherwise only its
// cleaned text.
func Scrub(err error, hide secret.String) error {
	if err == nil || hide.IsZero() || !strings.Contains(err.Error(), hide.Reveal()) {
		return err
	}
	return errors.New(Clean(err.Error(), hide))
}
