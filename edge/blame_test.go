package edge_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/edge"
)

// failures sums the origin failures that a registry has.
func failures(t *testing.T, reg *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "pointsman_edge_origin_failures_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

func TestAClientThatLeavesIsNoFailureOfTheOrigin(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			o := &origin{answer: func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}}
			reg := prometheus.NewRegistry()
			s := newEdge(t, o, func(c *edge.Config) { c.Registerer = reg })
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			doCtx(ctx, s, method, "http://a.test/")
			synctest.Wait()
			if n := failures(t, reg); n != 0 {
				t.Errorf("%s: %v failures are blamed on the origin", method, n)
			}
			o.answer = func(*http.Request) (*http.Response, error) { return nil, errRefused }
			do(s, method, "http://a.test/")
			if n := failures(t, reg); n != 1 {
				t.Errorf("%s: %v failures of the origin are counted", method, n)
			}
		})
	}
}
