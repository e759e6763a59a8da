package admin

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the admin API does.
type metrics struct {
	requests   *prometheus.CounterVec
	panics     prometheus.Counter
	unrecorded *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_admin_requests_total",
			Help: "Requests to the admin API by method and status.",
		}, []string{"method", "status"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pointsman_admin_panics_total",
			Help: "Requests to the admin API that met a bug and were answered 500.",
		}),
		unrecorded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_admin_unrecorded_total",
			Help: "Acts that the audit log could not record, by result: refused (purges, drills), " +
				"or done all the same (overrides, stops, reloads).",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.panics, m.unrecorded)
	}
	return m
}

// count counts a request; methods nobody defined share one label.
func (m *metrics) count(r *http.Request, status int) {
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
	default:
		method = "other"
	}
	if status == 0 {
		status = http.StatusOK // what net/http sends for a handler that wrote nothing
	}
	m.requests.WithLabelValues(method, strconv.Itoa(status)).Inc()
}
