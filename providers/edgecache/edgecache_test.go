package edgecache_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"pointsman/internal/secret"
	"pointsman/providers"
	"pointsman/providers/edgecache"
	"pointsman/providers/providertest"
	"pointsman/providers/providertest/suite"
)

func TestEdgeKeepsTheContract(t *testing.T) {
	suite.Run(t, suite.Setup{
		Vendor: "edge",
		NewDouble: func() suite.Double {
			return providertest.NewEdge(providertest.EdgeConfig{Token: suite.Canary})
		},
		NewProvider: func(o suite.Options) (providers.Provider, error) {
			return edgecache.New(edgecache.Config{
				Name: o.Name, Nodes: []string{o.RootURL}, Token: o.Token,
				HTTPClient: o.Client, Logger: o.Logger,
			})
		},
	})
}

const token = "s3cr3t-value"

// fleet runs n fake nodes and a provider for them all.
func fleet(t *testing.T, n int) ([]*providertest.Edge, []string, *edgecache.Provider) {
	t.Helper()
	var nodes []*providertest.Edge
	var urls []string
	for range n {
		node := providertest.NewEdge(providertest.EdgeConfig{Token: token})
		s := httptest.NewServer(node)
		t.Cleanup(s.Close)
		nodes, urls = append(nodes, node), append(urls, s.URL)
	}
	hc := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(hc.CloseIdleConnections)
	p, err := edgecache.New(edgecache.Config{Name: "edge", Nodes: urls, HTTPClient: hc,
		Token: secret.New(token)})
	if err != nil {
		t.Fatal(err)
	}
	return nodes, urls, p
}

func TestEveryNodeIsPurged(t *testing.T) {
	nodes, _, p := fleet(t, 5)
	b := suite.Batch(providers.Prefix, 3)
	b.Soft = true
	receipt, err := p.Purge(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	want := providers.Receipt{Ref: "15 objects on 5 nodes", Confirmed: true}
	if d := cmp.Diff(want, receipt); d != "" {
		t.Errorf("receipt (-want +got):\n%s", d)
	}
	for i, n := range nodes {
		got := n.Applied()
		if len(got) != 1 || !got[0].Soft || len(got[0].Items) != 3 || n.Calls() != 1 {
			t.Errorf("node %d applied %+v in %d calls", i, got, n.Calls())
		}
	}
}

func TestPartialSuccessNamesTheNodesThatFailed(t *testing.T) {
	for _, c := range []struct {
		name    string
		faults  map[int]providertest.Fault
		class   providers.Class
		unknown bool
		wait    time.Duration
	}{
		{"one refuses", map[int]providertest.Fault{1: providertest.Unauthorized},
			providers.Auth, true, 0},
		{"one can be tried again", map[int]providertest.Fault{
			0: providertest.Unauthorized, 2: providertest.Unavailable},
			providers.Transient, true, providertest.FaultWait},
		{"all refuse", map[int]providertest.Fault{0: providertest.Forbidden,
			1: providertest.Missing, 2: providertest.BadRequest}, providers.Auth, false, 0},
		{"all cut the connection", map[int]providertest.Fault{0: providertest.ResetAfter,
			1: providertest.ResetBefore, 2: providertest.Truncated}, providers.Transient, true, 0},
		{"one throttles", map[int]providertest.Fault{2: providertest.Throttled},
			providers.Throttled, true, providertest.FaultWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes, urls, p := fleet(t, 3)
			for i, f := range c.faults {
				nodes[i].Inject(f)
			}
			_, err := p.Purge(t.Context(), suite.Batch(providers.Tag, 1))
			var e *providers.Error
			if !errors.As(err, &e) || e.Class != c.class || e.Unknown != c.unknown ||
				e.RetryAfter != c.wait {
				t.Fatalf("%+v: want %s, unknown %v, wait %v", err, c.class, c.unknown, c.wait)
			}
			for i, u := range urls {
				_, failed := c.faults[i]
				if strings.Contains(e.Message, u) != failed {
					t.Errorf("%q: names node %d: want %v", e.Message, i, failed)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), token) {
				t.Errorf("%q: more than one line, or the token", err)
			}
			if _, err := p.Purge(t.Context(), suite.Batch(providers.Tag, 1)); err != nil {
				t.Errorf("repeating the batch: %v", err)
			}
		})
	}
}

func TestASlowNodeDoesNotKeepTheOthersWaiting(t *testing.T) {
	nodes, urls, p := fleet(t, 3)
	nodes[0].Inject(providertest.HangBefore)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := p.Purge(ctx, suite.Batch(providers.Everything, 0))
	if err == nil || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), urls[0]) || strings.Contains(err.Error(), urls[1]) {
		t.Errorf("%v: want a deadline of node 0 alone", err)
	}
	for i, n := range nodes[1:] {
		if len(n.Applied()) != 1 {
			t.Errorf("node %d has not purged", i+1)
		}
	}
}

func TestNodesOnLoopbackNeedNoToken(t *testing.T) {
	node := providertest.NewEdge(providertest.EdgeConfig{})
	s := httptest.NewServer(node)
	defer s.Close()
	p, err := edgecache.New(edgecache.Config{Name: "edge", Nodes: []string{s.URL + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Purge(t.Context(), suite.Batch(providers.Host, 1)); err != nil {
		t.Error(err)
	}
}

func TestNewRefusesABadConfig(t *testing.T) {
	for _, c := range []struct {
		words string
		conf  edgecache.Config
	}{
		{"no name", edgecache.Config{Nodes: []string{"http://127.0.0.1:1"}}},
		{"no nodes", edgecache.Config{Name: "e"}},
		{"there twice", edgecache.Config{Name: "e",
			Nodes: []string{"http://127.0.0.1:1", "http://127.0.0.1:1/"}}},
		{"want https://", edgecache.Config{Name: "e", Nodes: []string{"127.0.0.1:1"}}},
		{"credentials", edgecache.Config{Name: "e", Nodes: []string{"http://a:b@127.0.0.1:1"}}},
		{"white space", edgecache.Config{Name: "e", Nodes: []string{"http://127.0.0.1:1"},
			Token: secret.New(token + " x")}},
	} {
		_, err := edgecache.New(c.conf)
		if err == nil || !strings.Contains(err.Error(), c.words) ||
			strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", c.words, err)
		}
	}
}

func TestNoGoroutineOutlivesACall(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("calls", func(t *testing.T) {
		nodes, _, p := fleet(t, 3)
		nodes[0].Inject(providertest.ResetAfter)
		nodes[1].Inject(providertest.HangAfter)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := p.Purge(ctx, suite.Batch(providers.Tag, 1)); err == nil {
			t.Error("two nodes failed, and the call did not")
		}
	})
	goleak.VerifyNone(t, before)
}

func TestASuccessMustSayWhatWasPurged(t *testing.T) {
	for _, body := range []string{`{"generation":1}`, `{"purged":1}`, `{}`, `null`,
		`{"purged":-1,"generation":-1}`, `{"purged":"1","generation":1}`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(body))
		}))
		p, err := edgecache.New(edgecache.Config{Name: "edge", Nodes: []string{s.URL}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Purge(t.Context(), suite.Batch(providers.Tag, 1))
		var e *providers.Error
		if !errors.As(err, &e) || e.Class != providers.Transient || !e.Unknown {
			t.Errorf("%s: %v: want transient and unknown", body, err)
		}
		s.Close()
	}
}
