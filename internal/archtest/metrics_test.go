package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pointsman/edge"
	"pointsman/internal/admin"
	"pointsman/internal/audit"
	"pointsman/internal/store/boltstore"
	"pointsman/probes"
	"pointsman/probes/health"
	"pointsman/purge"
	"pointsman/steering"
	"pointsman/steering/alias"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnsserver"
	"pointsman/steering/feed"
	"pointsman/steering/geo"
	"pointsman/steering/slow"
	"pointsman/steering/tap"
	"pointsman/steering/transfer"
)

// metric is one metric of ours, as the code declares it.
type metric struct {
	name, kind, help, pkg string
	labels                []string
}

// capture is a registerer that writes down what is registered.
type capture struct {
	t     *testing.T
	pkg   string
	found []metric
}

func (c *capture) MustRegister(cs ...prometheus.Collector) {
	for _, one := range cs {
		_ = c.Register(one) // never fails
	}
}

func (c *capture) Unregister(prometheus.Collector) bool { return false }

var descPattern = regexp.MustCompile(
	`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), (?:unit: "", )?` +
		`constLabels: \{\}, variableLabels: \{(.*)\}\}$`)

func (c *capture) Register(col prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 100)
	col.Describe(descs)
	close(descs)
	kinds := kindsOf(c.t, col)
	for d := range descs {
		m := descPattern.FindStringSubmatch(d.String())
		if m == nil {
			c.t.Fatalf("cannot read %s", d)
		}
		name, err1 := strconv.Unquote(m[1])
		help, err2 := strconv.Unquote(m[2])
		if err := errors.Join(err1, err2); err != nil {
			c.t.Fatal(err)
		}
		one := metric{name: name, help: help, pkg: c.pkg, kind: kinds[d.String()]}
		if m[3] != "" {
			one.labels = strings.Split(m[3], ",")
		}
		if one.kind == "" && strings.HasSuffix(name, "_total") {
			one.kind = "counter" // of a collector of our own that has counted nothing yet
		}
		if one.kind == "" && strings.HasSuffix(name, "_age_seconds") {
			one.kind = "gauge" // likewise, of something that has no age yet
		}
		c.found = append(c.found, one)
	}
	return nil
}

// kindsOf tells the type of each metric of a collector by its description.
func kindsOf(t *testing.T, col prometheus.Collector) map[string]string {
	kind := ""
	switch col.(type) {
	case *prometheus.CounterVec:
		kind = "counter"
	case *prometheus.GaugeVec:
		kind = "gauge"
	case *prometheus.HistogramVec:
		kind = "histogram"
	}
	out := map[string]string{}
	descs := make(chan *prometheus.Desc, 100)
	col.Describe(descs)
	close(descs)
	for d := range descs {
		out[d.String()] = kind
	}
	values := make(chan prometheus.Metric, 1000)
	col.Collect(values)
	close(values)
	for v := range values {
		var m dto.Metric
		if err := v.Write(&m); err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Counter != nil:
			kind = "counter"
		case m.Gauge != nil:
			kind = "gauge"
		case m.Histogram != nil:
			kind = "histogram"
		}
		out[v.Desc().String()] = kind
	}
	return out
}

var gathering struct {
	once sync.Once
	all  map[string]metric
}

// metrics returns every metric of ours by name; the first call builds the parts that have some.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	gathering.once.Do(func() { gathering.all = gather(t) })
	if len(gathering.all) == 0 {
		t.Fatal("there are no metrics: the test that gathered them failed")
	}
	return gathering.all
}

func gather(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	take := func(found []metric) {
		for _, m := range found {
			if _, twice := all[m.name]; twice {
				t.Errorf("%s is declared twice", m.name)
			}
			all[m.name] = m
		}
	}
	for pkg, build := range builders(t) {
		c := &capture{t: t, pkg: pkg}
		if err := build(c); err != nil {
			t.Fatalf("%s: %v", pkg, err)
		}
		if len(c.found) == 0 {
			t.Errorf("%s registers no metrics", pkg)
		}
		take(c.found)
	}
	take(declared(t, "internal/app/metrics.go"))
	return all
}

// builders make the parts that have metrics; each hands over its registerer.
func builders(t *testing.T) map[string]func(prometheus.Registerer) error {
	return map[string]func(prometheus.Registerer) error{
		"probes": func(r prometheus.Registerer) error {
			probes.NewScheduler(probes.SchedulerConfig{
				Prober: probes.NewProber(probes.ProberConfig{}), Registerer: r})
			return nil
		},
		"probes/health": func(r prometheus.Registerer) error {
			health.New(health.Config{Vantage: "here", Registerer: r})
			return nil
		},
		"steering": func(r prometheus.Registerer) error {
			steering.NewEngine(steering.EngineConfig{Registerer: r})
			return nil
		},
		"steering/alias": func(r prometheus.Registerer) error {
			alias.New(alias.Config{Registerer: r})
			return nil
		},
		"steering/feed": func(r prometheus.Registerer) error {
			feed.New(feed.Config{Registerer: r})
			return nil
		},
		"steering/geo": func(r prometheus.Registerer) error {
			geo.NewSource(geo.SourceConfig{Registerer: r})
			return nil
		},
		"steering/dnsserver": func(r prometheus.Registerer) error {
			s, err := dnsserver.New(dnsserver.Config{Listen: []string{"127.0.0.1:0"}, Registerer: r})
			if err != nil {
				return err
			}
			return s.Close()
		},
		"steering/slow": func(r prometheus.Registerer) error {
			slow.NewRunner(slow.RunnerConfig{Registerer: r}, slow.Config{})
			return nil
		},
		"steering/tap": func(r prometheus.Registerer) error {
			_, err := tap.New(tap.Config{Registerer: r,
				Decisions: &tap.DecisionConfig{File: "/decisions", Sample: 1}})
			return err
		},
		"steering/dnssec": func(r prometheus.Registerer) error {
			_, err := dnssec.NewMetrics(r)
			return err
		},
		"steering/transfer": func(r prometheus.Registerer) error {
			if _, err := transfer.New(transfer.Config{Registerer: r}); err != nil {
				return err
			}
			_, err := transfer.NewNotifier(nil, r)
			return err
		},
		"purge": func(r prometheus.Registerer) error {
			local, err := boltstore.Open(boltstore.Config{Path: filepath.Join(t.TempDir(), "db")})
			if err != nil {
				return err
			}
			_, err = purge.New(purge.Config{Node: "here", Local: local, Registerer: r})
			return errors.Join(err, local.Close())
		},
		"edge": func(r prometheus.Registerer) error {
			s, err := edge.New(edge.Config{Registerer: r, Sites: []edge.Site{{
				Hosts: []string{"cdn.example.test"}, Origin: "http://127.0.0.1:9"}}})
			if err != nil {
				return err
			}
			return s.Close()
		},
		"internal/audit": func(r prometheus.Registerer) error {
			audit.New(audit.Config{Registerer: r})
			return nil
		},
		"internal/admin": func(r prometheus.Registerer) error {
			s, err := admin.New(admin.Config{Listen: "127.0.0.1:0", Registerer: r,
				Gatherer: prometheus.NewRegistry()})
			if err != nil {
				return err
			}
			return s.Close()
		},
	}
}

// declared reads metrics from the source of a file whose registry is its own.
func declared(t *testing.T, file string) []metric {
	t.Helper()
	var out []metric
	for _, s := range parsed(t) {
		if filepath.ToSlash(s.path) != file {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasPrefix(sel.Sel.Name, "New") {
				return true
			}
			opts, ok := call.Args[0].(*ast.CompositeLit)
			if !ok {
				return true
			}
			m := metric{pkg: s.pkg, kind: strings.ToLower(
				strings.TrimSuffix(strings.TrimPrefix(sel.Sel.Name, "New"), "Vec"))}
			for _, e := range opts.Elts {
				kv := e.(*ast.KeyValueExpr)
				switch kv.Key.(*ast.Ident).Name {
				case "Name":
					m.name = literal(t, kv.Value)
				case "Help":
					m.help = literal(t, kv.Value)
				}
			}
			if len(call.Args) > 1 {
				for _, e := range call.Args[1].(*ast.CompositeLit).Elts {
					m.labels = append(m.labels, literal(t, e))
				}
			}
			out = append(out, m)
			return true
		})
	}
	if len(out) == 0 {
		t.Fatalf("%s declares no metrics", file)
	}
	return out
}

// literal is the value of a text in the source, which may be put together by +.
func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	case *ast.BinaryExpr:
		return literal(t, e.X) + literal(t, e.Y)
	}
	t.Fatalf("%T is no literal", e)
	return ""
}

func TestMetricsAreNamedAfterTheirPackageAndUnit(t *testing.T) {
	shape := regexp.MustCompile(`^pointsman(_[a-z][a-z0-9]*)+$`)
	for name, m := range metrics(t) {
		if !shape.MatchString(name) || !strings.HasPrefix(name, "pointsman_"+path.Base(m.pkg)+"_") {
			t.Errorf("%s: want pointsman_%s_<what>_<unit>", name, path.Base(m.pkg))
		}
		if total := strings.HasSuffix(name, "_total"); total != (m.kind == "counter") {
			t.Errorf("%s is a %s: counters, and they alone, end in _total", name, m.kind)
		}
		if m.kind == "histogram" && !strings.HasSuffix(name, "_seconds") &&
			!strings.HasSuffix(name, "_bytes") {
			t.Errorf("%s: a histogram ends in its base unit", name)
		}
		for _, unit := range []string{"_ms", "_milliseconds", "_minutes", "_hours", "_percent",
			"_kb", "_kib", "_mb", "_mib"} {
			if strings.HasSuffix(strings.TrimSuffix(name, "_total"), unit) {
				t.Errorf("%s: %s is no base unit", name, unit)
			}
		}
		if m.kind == "" || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: type %q, help %q: want both, and a sentence", name, m.kind, m.help)
		}
		for _, l := range m.labels {
			if slices.Contains([]string{"client", "address", "url", "purge_id", "path", "query",
				"user", "le", "quantile"}, l) {
				t.Errorf("%s: the label %s has no bound", name, l)
			}
		}
	}
}

// TestNoMetricEscapesTheList finds packages that declare metrics and are not built above, and
// names in the source that no list has.
func TestNoMetricEscapesTheList(t *testing.T) {
	known := metrics(t)
	built := builders(t)
	for _, s := range parsed(t) {
		if s.test || s.pkg == "internal/archtest" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && declares(sel) &&
				built[s.pkg] == nil && s.pkg != "internal/app" {
				t.Errorf("%s declares metrics: add the package to builders",
					s.fset.Position(sel.Pos()))
			}
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil || !strings.HasPrefix(text, "pointsman_") || strings.HasSuffix(text, "_") {
				return true
			}
			if _, ok := known[text]; !ok {
				t.Errorf("%s: %q is no metric that gets registered", s.fset.Position(lit.Pos()), text)
			}
			return true
		})
	}
}

// declares reports whether an expression makes a metric.
func declares(sel *ast.SelectorExpr) bool {
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Name != "prometheus" && id.Name != "promauto" {
		return false
	}
	switch sel.Sel.Name {
	case "NewDesc", "With":
		return true
	}
	for _, kind := range []string{"NewCounter", "NewGauge", "NewHistogram", "NewSummary"} {
		if strings.HasPrefix(sel.Sel.Name, kind) {
			return true
		}
	}
	return false
}

// used finds our metrics in an expression of PromQL.
func used(expr string) []string {
	return regexp.MustCompile(`pointsman_[a-z0-9_]+`).FindAllString(expr, -1)
}

// series strips the ending that a histogram's series have.
func series(name string, known map[string]metric) string {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, end); ok && known[base].kind == "histogram" {
			return base
		}
	}
	return name
}

// checkExpr reports metrics and labels of an expression that the code does not have.
func checkExpr(t *testing.T, where, expr string, known map[string]metric) {
	t.Helper()
	for _, name := range used(expr) {
		m, ok := known[series(name, known)]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, name)
			continue
		}
		if m.kind == "histogram" && series(name, known) == name {
			t.Errorf("%s: %s is a histogram: use its _bucket, _sum or _count", where, name)
		}
		for _, sel := range regexp.MustCompile(name+`\{([^}]*)\}`).FindAllStringSubmatch(expr, -1) {
			for _, l := range regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`).FindAllStringSubmatch(sel[1], -1) {
				if l[1] != "instance" && l[1] != "job" && !slices.Contains(m.labels, l[1]) {
					t.Errorf("%s: %s has no label %s, but %v", where, name, l[1], m.labels)
				}
			}
		}
	}
}

// TestTheListOfMetricsIsTheCodes writes or compares the table of docs/metrics.md, with the
// panels and alerts that use each metric.
func TestTheListOfMetricsIsTheCodes(t *testing.T) {
	known := metrics(t)
	seen := map[string][]string{}
	note := func(expr, where string) {
		for _, name := range used(expr) {
			if base := series(name, known); !slices.Contains(seen[base], where) {
				seen[base] = append(seen[base], where)
			}
		}
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			note(target.Expr, p.Title)
		}
	}
	for _, r := range rules(t) {
		note(r.Expr, fmt.Sprintf("**%s**", r.Alert))
	}
	var b strings.Builder
	b.WriteString("| Metric | Type | Labels | Meaning | Panel, **alert** |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(known)) {
		m := known[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, m.kind,
			strings.Join(m.labels, ", "), squeeze(m.help), strings.Join(seen[name], ", "))
	}
	holds(t, "docs/metrics.md", "metrics", b.String())
	var orphans []string
	for name := range known {
		if len(seen[name]) == 0 {
			orphans = append(orphans, name)
		}
	}
	if n := len(known) / 4; len(orphans) > n {
		t.Errorf("%d metrics are on no panel and in no alert, more than %d: %v",
			len(orphans), n, orphans)
	}
}
