package console_test

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"pointsman/internal/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	console.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func TestThePageAndAllThatItNamesAreServed(t *testing.T) {
	page := get("/")
	if page.Code != 200 || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("the page: %d %v", page.Code, page.Header())
	}
	kinds := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	named := regexp.MustCompile(`(?:href|src)="([a-z.]+\.(?:css|js|svg))"`)
	found := named.FindAllStringSubmatch(page.Body.String(), -1)
	if len(found) != 3 {
		t.Errorf("the page names %v", found)
	}
	for _, m := range found {
		w := get("/" + m[1])
		kind := kinds[m[1][strings.LastIndex(m[1], "."):]]
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) || w.Body.Len() == 0 {
			t.Errorf("%s: %d %q", m[1], w.Code, w.Header().Get("Content-Type"))
		}
	}
	if w := get("/nothing.js"); w.Code != 404 {
		t.Errorf("a file that is not there: %d", w.Code)
	}
}

// TestThePageNeedsNoLoosePolicy: no script or style in markup, nothing from elsewhere, and text
// from the node never becomes markup.
func TestThePageNeedsNoLoosePolicy(t *testing.T) {
	page := get("/").Body.String()
	for _, bad := range []string{`<script>`, `<style`, ` style="`, `javascript:`, `//`} {
		if strings.Contains(strings.ReplaceAll(page, "<!doctype", ""), bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if regexp.MustCompile(`\son[a-z]+=`).MatchString(page) {
		t.Error("the page has a handler in markup")
	}
	script := get("/console.js").Body.String()
	for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
		"http://", "https://", "localStorage"} {
		if strings.Contains(script, bad) {
			t.Errorf("the script has %s", bad)
		}
	}
	if style := get("/console.css").Body.String(); strings.Contains(style, "url(") ||
		strings.Contains(style, "@import") {
		t.Error("the style loads something")
	}
}
