package probes_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"pointsman/probes"
)

func TestAFetchReturnsWhatAClientWouldGet(t *testing.T) {
	body := strings.Repeat("content ", 100_000)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "cdn.example.test" {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
		w.Header().Set("Age", "7")
		_, _ = io.WriteString(w, body)
	})
	r, s := probes.Fetch(t.Context(), probes.Target{
		Name: "t", Backend: "b", URL: "http://cdn.example.test/asset.js", Address: address,
		Timeout: patience,
	})
	if !s.OK() {
		t.Fatalf("got %s: %s", s.Outcome, s.Detail)
	}
	hash := sha256.Sum256([]byte(body))
	if r.Status != 200 || r.Size != int64(len(body)) || r.Header.Get("Age") != "7" ||
		r.BodySHA256 != hex.EncodeToString(hash[:]) || r.Truncated || !r.At.Equal(s.Start) {
		t.Errorf("got %+v", r)
	}
}

func TestAFetchReadsAnAnswerThatIsNotExpected(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "nothing here")
	})
	asked := target(address, "/")
	asked.MaxBody = 7
	r, s := prober().Fetch(t.Context(), asked)
	hash := sha256.Sum256([]byte("nothing"))
	if s.Outcome != probes.FailedStatus || r.Status != 404 || r.Size != 7 || !r.Truncated ||
		r.BodySHA256 != hex.EncodeToString(hash[:]) {
		t.Errorf("got %s %+v", s.Outcome, r)
	}
}

func TestAFetchWithoutAnAnswerHasNoStatus(t *testing.T) {
	r, s := prober().Fetch(t.Context(), target(raw(t, answer("")), "/"))
	if s.Outcome != probes.FailedRead || r.Status != 0 || r.BodySHA256 != "" || r.At.IsZero() {
		t.Errorf("got %s %+v", s.Outcome, r)
	}
}
