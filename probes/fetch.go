package probes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"
)

// DefaultFetchBody is how many bytes of a body a fetch reads when the target does not say.
const DefaultFetchBody = 32 << 20

// Response is what a fetch got, whatever the target expects of it.
type Response struct {
	Status int // 0: no answer; the sample says why
	Header http.Header
	// BodySHA256 is the hash of the body as it was sent, in lower-case hexadecimal.
	BodySHA256 string
	Size       int64 // bytes of the body that were read
	// Truncated says that the body was longer than MaxBody: hash and size are of its beginning.
	Truncated bool
	At        time.Time // when the fetch began
}

// Fetch asks for a target's URL as a client would, by the same machinery as a probe, and
// also returns what came back. It reads the body even when the status is not expected.
func (p *NetProber) Fetch(ctx context.Context, t Target) (Response, Sample) {
	if t.MaxBody <= 0 {
		t.MaxBody = DefaultFetchBody
	}
	var out Response
	sample := p.measure(ctx, t, func(ctx context.Context, m *measurement) *failure {
		return m.http(ctx, func(head *http.Response, body []byte, truncated bool) {
			hash := sha256.Sum256(body)
			out = Response{
				Status: head.StatusCode, Header: head.Header, Size: int64(len(body)),
				BodySHA256: hex.EncodeToString(hash[:]), Truncated: truncated,
			}
		})
	})
	out.At = sample.Start
	return out, sample
}

// Fetch is NetProber.Fetch with a prober of the zero ProberConfig.
func Fetch(ctx context.Context, t Target) (Response, Sample) {
	return NewProber(ProberConfig{}).Fetch(ctx, t)
}
