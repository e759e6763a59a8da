//go:build !race

package steering_test

import (
	"testing"

	"pointsman/steering"
)

func TestPickingAndDrawingAllocateNothing(t *testing.T) {
	draws := steering.NewDraws(1)
	client := resolver(1)
	for name, table := range map[string]*steering.Table{
		"spread": compile(t, steering.Inputs{Spec: spec()}),
		"sticky": compile(t, steering.Inputs{Spec: spec(sticky)}),
		"tree":   compile(t, steering.Inputs{Spec: wideTree(steering.Spread)}),
		"heavy":  compile(t, heavyInputs()),
		"places": compile(t, steering.Inputs{Spec: spec(placed), Countries: atlas(t)}),
	} {
		qtype := uint16(0)
		allocs := testing.AllocsPerRun(1000, func() {
			qtype++
			draw := draws.Next(sequenceAt(table, client), client, qtype%30, start)
			if _, ok := table.Pick(steering.Query{Host: host, Client: client, Draw: draw}); !ok {
				t.Fatal("no answer")
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for one pick, want 0", name, allocs)
		}
	}
}
