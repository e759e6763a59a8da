package archtest

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// panel is what we look at of a Grafana panel.
type panel struct {
	ID          int
	Type, Title string
	Description string
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
	Datasource struct{ UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		Expr, RefID string
		Datasource  struct{ UID string }
	}
	Panels []panel
}

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage
		}
	}
}

func loadDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	out := map[string]dashboard{}
	for _, f := range files {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, "dashboards/"+filepath.Base(f))), &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out[filepath.Base(f)] = d
	}
	return out
}

// panels lists the panels of all dashboards, those in rows included, without the rows.
func panels(t *testing.T) []panel {
	t.Helper()
	var out []panel
	var walk func([]panel)
	walk = func(list []panel) {
		for _, p := range list {
			if p.Type != "row" {
				out = append(out, p)
			}
			walk(p.Panels)
		}
	}
	all := loadDashboards(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		walk(all[name].Panels)
	}
	return out
}

func TestDashboardsAreWhole(t *testing.T) {
	uids := map[string]string{}
	for name, d := range loadDashboards(t) {
		if d.UID == "" || d.Title == "" || uids[d.UID] != "" {
			t.Errorf("%s: uid %q (also of %q), title %q", name, d.UID, uids[d.UID], d.Title)
		}
		uids[d.UID] = name
		if d.SchemaVersion < 39 {
			t.Errorf("%s: schema %d, want 39 or newer", name, d.SchemaVersion)
		}
		have := map[string]string{}
		for _, v := range d.Templating.List {
			have[v.Name] = v.Type
			if v.Type == "query" {
				checkExpr(t, name+" variable "+v.Name, string(v.Query), metrics(t))
			}
		}
		if have["datasource"] != "datasource" || have["node"] != "query" {
			t.Errorf("%s: variables %v, want datasource and node", name, have)
		}
		ids := map[int]bool{}
		for i, p := range d.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: panel id %d is not unique", name, p.ID)
			}
			ids[p.ID] = true
			for _, other := range d.Panels[:i] {
				a, b := p.GridPos, other.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: panels %q and %q overlap", name, p.Title, other.Title)
				}
			}
		}
	}
}

func TestEveryPanelHasTitleUnitAndMetricsThatExist(t *testing.T) {
	known := metrics(t)
	titles := map[string]bool{}
	for _, p := range panels(t) {
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" ||
			len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: description %q, unit %q, %d queries, datasource %q: all are needed",
				p.Title, p.Description, p.FieldConfig.Defaults.Unit, len(p.Targets), p.Datasource.UID)
		}
		if titles[p.Title] {
			t.Errorf("two panels are called %q", p.Title)
		}
		titles[p.Title] = true
		for _, target := range p.Targets {
			checkExpr(t, "panel "+p.Title, target.Expr, known)
			if len(used(target.Expr)) == 0 && !strings.Contains(target.Expr, "up{") {
				t.Errorf("panel %q asks for nothing of ours: %s", p.Title, target.Expr)
			}
			if strings.Contains(target.Expr, "pointsman_") &&
				!strings.Contains(target.Expr, `instance=~"$node"`) {
				t.Errorf("panel %q ignores the node variable: %s", p.Title, target.Expr)
			}
		}
	}
	if len(titles) < 20 {
		t.Errorf("%d panels are too few for 3 a.m.", len(titles))
	}
}
