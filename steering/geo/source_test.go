package geo_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pointsman/steering/geo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), s)
}

// desk is a source that follows a file in a bubble.
type desk struct {
	t      *testing.T
	path   string
	source *geo.Source
	log    *journal
	reg    *prometheus.Registry
	told   chan string
	ahead  atomic.Int64 // what the source's clock is ahead, in ns
}

// write replaces the file's content; each time another minute is its time.
func (d *desk) write(text string, minute int) {
	d.t.Helper()
	if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	at := day.Add(time.Duration(minute) * time.Minute)
	if err := os.Chtimes(d.path, at, at); err != nil {
		d.t.Fatal(err)
	}
}

// country is where 192.1.0.1 is by the data in force.
func (d *desk) country() string { return where(d.source.Data().Locator, "192.1.0.1") }

// follow runs f while a source follows a file that puts 192.1.0.1 into DE.
func follow(t *testing.T, f func(d *desk)) {
	path := filepath.Join(t.TempDir(), "countries.csv")
	synctest.Test(t, func(t *testing.T) {
		d := &desk{t: t, path: path, log: &journal{}, reg: prometheus.NewRegistry(),
			told: make(chan string, 10)}
		d.source = geo.NewSource(geo.SourceConfig{
			Logger: slog.New(slog.NewTextHandler(d.log, nil)), Registerer: d.reg,
			Now: func() time.Time {
				return day.Add(time.Since(bubbleStart()) + time.Duration(d.ahead.Load()))
			},
			OnChange: func(l *geo.Locator) { d.told <- where(l, "192.1.0.1") },
		})
		d.write("192.1.0.0,192.1.0.255,DE", 0)
		data, err := geo.Load(geo.Wants{Files: []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		d.source.Use(data)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := d.source.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f(d)
		cancel()
		wg.Wait()
	})
}

// bubbleStart is when the clock of a synctest bubble begins.
func bubbleStart() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func (d *desk) wait(t time.Duration) {
	time.Sleep(t)
	synctest.Wait()
}

func TestAChangedFileIsReadWhenItHasComeToRest(t *testing.T) {
	follow(t, func(d *desk) {
		d.wait(time.Minute)
		if len(d.told) != 0 || d.country() != "DE" {
			t.Error("an unchanged file was read again")
		}
		d.write("192.1.0.0,192.1.0.9,AT", 1)
		d.wait(6 * time.Second)
		d.write("192.1.0.0,192.1.0.255,AT", 2) // it is still being written
		d.wait(5 * time.Second)
		if d.country() != "DE" {
			t.Error("half a file was taken")
		}
		d.wait(5 * time.Second)
		if d.country() != "AT" || len(d.told) != 1 || <-d.told != "AT" {
			t.Errorf("10 s after its change the file isn't in force: %s", d.country())
		}
		if n := d.log.count("geo data read"); n != 1 {
			t.Errorf("%d log lines, want 1", n)
		}
	})
}

func TestAFileThatCannotBeReadLeavesTheLastGoodDataInForce(t *testing.T) {
	follow(t, func(d *desk) {
		d.write("nonsense", 1)
		d.wait(time.Minute)
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		d.wait(time.Minute)
		if d.country() != "DE" || len(d.told) != 0 {
			t.Errorf("in force is %q", d.country())
		}
		if n := d.log.count("geo data not read"); n != 2 {
			t.Errorf("%d warnings, want one for each reason", n)
		}
		d.write("192.1.0.0,192.1.0.255,CH", 3)
		d.wait(10 * time.Second)
		if d.country() != "CH" {
			t.Errorf("the file came back, and in force is %q", d.country())
		}
		if got := d.metric("pointsman_geo_file_reads_total"); got != 3 {
			t.Errorf("%v reads counted, want 2 refused and 1 taken", got)
		}
	})
}

func TestAFileThatWasMissingAtTheStartIsTakenWhenItAppears(t *testing.T) {
	follow(t, func(d *desk) {
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		data, err := geo.StandIn(geo.Wants{Files: []string{d.path}, Country: true})
		if err == nil {
			t.Error("the missing file is no error")
		}
		d.source.Use(data)
		if d.country() == "DE" {
			t.Error("the built-in data says DE already: choose another address")
		}
		d.write("192.1.0.0,192.1.0.255,DE", 1)
		d.wait(10 * time.Second)
		if d.country() != "DE" {
			t.Errorf("in force is %q", d.country())
		}
	})
}

func TestDataThatWasHandedInIsNotOverwrittenByTheFormerFile(t *testing.T) {
	follow(t, func(d *desk) {
		d.write("192.1.0.0,192.1.0.255,AT", 1)
		d.source.Use(geo.Data{Locator: read(t, "192.1.0.0,192.1.0.255,FR")})
		d.wait(time.Minute)
		if d.country() != "FR" || len(d.told) != 0 {
			t.Errorf("in force is %q", d.country())
		}
	})
}

func TestAgedDataIsWarnedOfOnceADayAndItsAgeShown(t *testing.T) {
	follow(t, func(d *desk) {
		d.ahead.Store(int64(178*24*time.Hour + 23*time.Hour))
		d.wait(time.Hour)
		if n := d.log.count("geo data aged"); n != 0 {
			t.Errorf("%d warnings after 179 days, want none", n)
		}
		if got := d.metric("pointsman_geo_data_age_seconds"); got < 178*86400 || got > 180*86400 {
			t.Errorf("the age shown is %v s", got)
		}
		d.wait(72 * time.Hour)
		if n := d.log.count("geo data aged"); n != 2 {
			t.Errorf("%d warnings by day 182, want 2", n)
		}
		d.source.Use(geo.Data{})
		d.wait(72 * time.Hour)
		if n := d.log.count("geo data aged"); n != 2 {
			t.Error("a warning of data that is not in force")
		}
		if got := d.metric("pointsman_geo_data_age_seconds"); got != 0 {
			t.Errorf("the age of no data is %v s", got)
		}
	})
}

// metric sums the series of a metric.
func (d *desk) metric(name string) float64 {
	families, err := d.reg.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestLoadSaysWhyAFileIsNoCountryData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mmdb")
	_, err := geo.Load(geo.Wants{Files: []string{path}})
	if err == nil || !strings.Contains(err.Error(), "opening country data") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("\xab\xcd\xefMaxMind.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = geo.Load(geo.Wants{Files: []string{path}})
	if err == nil || !strings.Contains(err.Error(), "reading MMDB: ") {
		t.Errorf("an MMDB: %v", err)
	}
	data, err := geo.Load(geo.Wants{Country: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("US", where(data.Locator, "8.8.8.8")); d != "" {
		t.Error(d)
	}
}
