package geo

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of a Source.
type metrics struct {
	reads *prometheus.CounterVec
}

// newMetrics registers the metrics; with a nil registerer they exist and are seen by nobody.
// date says when it is asked of which day the data is.
func newMetrics(r prometheus.Registerer, date, now func() time.Time) *metrics {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pointsman_geo_data_age_seconds",
		Help: "How old the country data in force is; 0 while none is used.",
	}, func() float64 {
		if d := date(); !d.IsZero() {
			return now().Sub(d).Seconds()
		}
		return 0
	})
	return &metrics{reads: f.NewCounterVec(prometheus.CounterOpts{
		Name: "pointsman_geo_file_reads_total",
		Help: "Times that a changed file of country data was read, by result: taken or refused.",
	}, []string{"result"})}
}
