package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/admin/api"
)

// answering is a node that answers everything with one value.
func answering(t *testing.T, status int, v any) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// ran runs a command line in this process.
func ran(ctx context.Context, args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func TestThePurgesOutcomeIsTheExitCode(t *testing.T) {
	for _, c := range []struct {
		outcome string
		final   bool
		want    int
	}{
		{"done", true, 0}, {"failed", true, exitFailed}, {"partly", true, exitPartly},
		{"unverified", true, exitUnverified}, {"pending", false, exitFailed},
		{"a word of tomorrow", true, exitFailed},
	} {
		url := answering(t, 200, api.PurgeStatus{ID: "P1", Outcome: c.outcome, Final: c.final})
		for _, args := range [][]string{
			{"purge", "--tag", "a", "--wait", "--timeout", "1ms", "--admin", url},
			{"purge", "status", "P1", "--wait", "--timeout", "1ms", "--admin", url},
			{"purge", "status", "P1", "--wait", "--timeout", "1ms", "--json", "--admin", url},
		} {
			code, out, errOut := ran(t.Context(), args...)
			if code != c.want || !strings.Contains(out, c.outcome) {
				t.Errorf("%s, %v: exit code %d, want %d\n%s%s", c.outcome, args, code, c.want, out, errOut)
			}
			if !c.final && !strings.Contains(errOut, "purge P1 goes on; see: pointsman purge status P1") {
				t.Errorf("what goes on is not told of: %q", errOut)
			}
		}
	}
}

func TestTheNodesWordDecidesTheExitCode(t *testing.T) {
	for _, c := range []struct {
		problem api.Problem
		status  int
		want    int
		text    string
	}{
		{api.Problem{Code: api.CodeBadRequest, Title: "Bad Request", Detail: "no backend is named x"},
			400, exitUsage, "pointsman: no backend is named x\n"},
		{api.Problem{Code: api.CodeRefused, Title: "Conflict", Detail: "drill refused: why"},
			409, exitFailed, "pointsman: drill refused: why\n"},
		{api.Problem{Code: api.CodeRefused, Title: "Config refused", Detail: "the old one serves on",
			Findings: []string{"a.yaml:1:2: x: unknown key"}},
			409, exitUsage, "pointsman: the old one serves on\na.yaml:1:2: x: unknown key\n"},
		{api.Problem{Code: api.CodeInternal, Title: "Internal Server Error"}, 500, exitFailed,
			"pointsman: HTTP 500 Internal Server Error\n"},
		{api.Problem{Code: api.CodeForbidden, Detail: "esc \x1b[2J", Title: "Forbidden"}, 403,
			exitFailed, `pointsman: esc \x1b[2J` + "\n"},
	} {
		url := answering(t, c.status, c.problem)
		code, out, errOut := ran(t.Context(), "status", "--admin", url)
		if code != c.want || out != "" || errOut != c.text {
			t.Errorf("%v: exit code %d, want %d; printed %q and %q", c.problem, code, c.want, out, errOut)
		}
	}
	// What stands between may answer in no shape of ours.
	code, _, errOut := ran(t.Context(), "status", "--admin", answering(t, 502, "gone"))
	if code != exitFailed || errOut != "pointsman: HTTP 502 Bad Gateway: \"gone\"\n" {
		t.Errorf("exit code %d, %q", code, errOut)
	}
}

func TestADrillsEndIsTheExitCode(t *testing.T) {
	for state, want := range map[string]int{"done": 0, "aborted": exitFailed, "failed": exitFailed} {
		url := answering(t, 200, api.Drill{ID: "D1", Backend: "b", State: state, Message: "so it went"})
		code, out, errOut := ran(t.Context(), "drill", "start", "--backend", "b", "--admin", url)
		if code != want || !strings.Contains(out, "drill D1 on b: "+state+": so it went") {
			t.Errorf("%s: exit code %d, want %d\n%s%s", state, code, want, out, errOut)
		}
		if want != 0 && !strings.Contains(errOut, "\npointsman: drill "+state+": so it went\n") {
			t.Errorf("%s: %q", state, errOut)
		}
		if code, _, _ := ran(t.Context(), "drill", "status", "D1", "--admin", url); code != 0 {
			t.Errorf("to look at a drill that is %s has failed: %d", state, code)
		}
	}
}

// A drill that is interrupted is stopped by its id, even when a look at it was cut short.
func TestAnInterruptedDrillIsStoppedByItsID(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var stopped atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := api.Drill{ID: "D1", Backend: "b", State: "running", Message: "probes fail"}
		switch r.Method {
		case http.MethodGet:
			interrupt()
			panic(http.ErrAbortHandler) // the look ends without an answer
		case http.MethodDelete:
			stopped.Store(r.URL.Path)
			d.State, d.Message = "aborted", "stopped by me; restored"
		}
		_ = json.NewEncoder(w).Encode(d)
	}))
	defer s.Close()
	code, _, errOut := ran(ctx, "drill", "start", "--backend", "b", "--admin", s.URL)
	if code != exitFailed || stopped.Load() != "/v1/drills/D1" {
		t.Errorf("exit code %d, stopped %v\n%s", code, stopped.Load(), errOut)
	}
	if !strings.Contains(errOut, "Ctrl-C again leaves that to the node") ||
		!strings.Contains(errOut, "drill aborted: stopped by me; restored") {
		t.Errorf("printed %q", errOut)
	}
}

// An interrupt while waiting ends this command and leaves the purge to the node.
func TestAnInterruptedWaitLeavesThePurgeToTheNode(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			interrupt()
			<-r.Context().Done()
			return
		}
		_ = json.NewEncoder(w).Encode(api.PurgeStatus{ID: "P1", Outcome: "pending"})
	}))
	defer s.Close()
	begin := time.Now()
	code, out, errOut := ran(ctx, "purge", "--tag", "a", "--wait", "--admin", s.URL)
	if code != exitFailed || !strings.Contains(errOut, "purge P1 goes on; see: ") ||
		!strings.Contains(out, ": pending\n") || strings.Contains(errOut, "Is the node running") {
		t.Errorf("exit code %d, %q, %q", code, out, errOut)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v to be interrupted", took)
	}
}

// Every command says what it is for, shows an example, and every flag what it takes.
func TestEveryCommandHelps(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q is no short description", c.CommandPath(), c.Short)
		}
		if c.HasParent() && c.Name() != "version" && c.Name() != "help" {
			if !strings.Contains(c.Example, "  "+c.CommandPath()) && !strings.Contains(c.Example, "  pointsman ") {
				t.Errorf("%s has no example", c.CommandPath())
			}
		}
		if c.Args == nil && c.Name() != "probe" && c.Name() != "help" {
			t.Errorf("%s takes whatever arguments come", c.CommandPath())
		}
		for _, line := range strings.Split(c.LocalFlags().FlagUsages(), "\n") {
			for _, vague := range []string{" string ", " stringArray ", " strings ", " duration ", " int ", " float "} {
				if strings.Contains(line, vague) {
					t.Errorf("%s: a flag takes a nameless%s: %s", c.CommandPath(), vague, line)
				}
			}
		}
	}
	walk(newRoot())
}

func TestAPurgeWhoseAnswerWasLostMayHaveBeenAccepted(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler) // cuts the connection
	}))
	defer s.Close()
	code, _, errOut := ran(t.Context(), "purge", "--tag", "x", "--admin", s.URL)
	if code != exitFailed || !strings.Contains(errOut, "It is not known whether the purge was "+
		"accepted. To repeat it without harm, add: --idempotency-key ") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
}
