package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pointsman/internal/secret"
)

func TestNoRenderingShowsTheCredential(t *testing.T) {
	const canary = "canary-4711"
	type holder struct {
		Token secret.String
		Map   map[string]secret.String
		inner secret.String // fmt does not call the methods of unexported fields
	}
	h := holder{secret.New(canary), map[string]secret.String{"k": secret.New(canary)},
		secret.New(canary)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, h, h.Token)
	}
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "token", h.Token, "holder", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "token", h.Token, "holder", h)
	fmt.Fprint(&out, fmt.Errorf("using %v", h.Token))
	for _, form := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("a rendering shows the credential: %s", out.String())
		}
	}
	if h.Token.Reveal() != canary {
		t.Error("Reveal must return the credential")
	}
	if h.Token.IsZero() || !(secret.String{}).IsZero() {
		t.Error("IsZero must be true for the zero value alone")
	}
}
