package fastly

import (
	"errors"
	"fmt"
	"strings"

	"pointsman/providers"
)

// maxRef bounds a receipt's reference, in bytes.
const maxRef = 300

// keys is the body of a purge by surrogate keys.
type keys struct {
	SurrogateKeys []string `json:"surrogate_keys"`
}

// readOne reads the answer to a purge of one URL or of everything (which has no id).
func readOne(a providers.Answer, _ []string) (string, error) {
	var out struct {
		Status string `json:"status"`
		ID     string `json:"id"`
	}
	if err := a.Decode(&out); err != nil {
		return "", err
	}
	if out.Status != "ok" {
		return "", fmt.Errorf("status %q, not ok", out.Status)
	}
	return out.ID, nil
}

// readKeys reads the answer to a purge by keys: an id for each. A key without one was not
// shown to be taken, so the whole batch counts as unknown.
func readKeys(a providers.Answer, items []string) (string, error) {
	var out map[string]string
	if err := a.Decode(&out); err != nil {
		return "", err
	}
	var ids []string
	length := 0
	for _, key := range items {
		id := out[key]
		if id == "" {
			return "", fmt.Errorf("no id for tag %q in the answer", key)
		}
		if length += len(id) + 1; length <= maxRef {
			ids = append(ids, id)
		}
	}
	if len(items) == 0 {
		return "", errors.New("no tags")
	}
	return strings.Join(ids, ","), nil
}

// words finds what an error body says: Fastly's own form, JSON:API or problem+json. Empty when
// it is none of them.
func words(a providers.Answer) string {
	var body struct {
		Msg    string `json:"msg"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Errors []struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
		} `json:"errors"`
	}
	if a.Decode(&body) != nil {
		return ""
	}
	parts := []string{body.Msg, body.Title, body.Detail}
	for _, e := range body.Errors {
		parts = append(parts, e.Title, e.Detail)
	}
	var said []string
	for _, s := range parts {
		if s != "" {
			said = append(said, s)
		}
	}
	return strings.Join(said, ": ")
}
