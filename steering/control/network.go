package control

import (
	"cmp"
	"math"
	"slices"
)

// network is a flow network in its residual form: arc 2i and its reverse 2i+1 are a pair.
// Node 0 is the source; then come the demands, the suppliers and the sink.
type network struct {
	demands   []Demand
	suppliers []Supplier
	sink      int

	arcs      []arc
	out       [][]int32 // arcs that leave a node
	potential []toll

	// Of the search for one path.
	dist    []toll
	reached []bool
	done    []bool
	via     []int32 // the arc by which a node was reached
}

type arc struct {
	to   int32
	room int64 // what may still flow
	toll toll
}

// size makes room for nodes and, as a guess, for arcs.
func (n *network) size(nodes, arcs int) {
	n.arcs = make([]arc, 0, 2*arcs)
	n.out = make([][]int32, nodes)
	for v := range n.out {
		n.out[v] = make([]int32, 0, 8)
	}
	n.potential = make([]toll, nodes)
	n.dist = make([]toll, nodes)
	n.reached = make([]bool, nodes)
	n.done = make([]bool, nodes)
	n.via = make([]int32, nodes)
}

func (n *network) arc(from, to int, room int64, t toll) {
	i := int32(len(n.arcs))
	n.arcs = append(n.arcs,
		arc{to: int32(to), room: room, toll: t},
		arc{to: int32(from), toll: toll{}.minus(t)})
	n.out[from] = append(n.out[from], i)
	n.out[to] = append(n.out[to], i+1)
}

// augment sends as much as fits along the cheapest path that has room left, and returns false
// when there is none. No reduced cost is below 0, as no toll is: that keeps Dijkstra right.
func (n *network) augment() bool {
	n.search()
	if !n.reached[n.sink] {
		return false
	}
	end := n.dist[n.sink]
	for v := range n.potential {
		// Nodes that are farther than the sink, or cut off, move by its distance.
		if n.done[v] && n.dist[v].less(end) {
			n.potential[v] = n.potential[v].plus(n.dist[v])
		} else {
			n.potential[v] = n.potential[v].plus(end)
		}
	}
	room := int64(math.MaxInt64)
	for v := n.sink; v != 0; v = int(n.arcs[n.via[v]^1].to) {
		room = min(room, n.arcs[n.via[v]].room)
	}
	for v := n.sink; v != 0; v = int(n.arcs[n.via[v]^1].to) {
		n.arcs[n.via[v]].room -= room
		n.arcs[n.via[v]^1].room += room
	}
	return true
}

// search is Dijkstra's on reduced costs, without a heap: the network is small and dense. It
// stops at the sink. Ties go to the node with the lower number.
func (n *network) search() {
	for v := range n.dist {
		n.reached[v], n.done[v] = false, false
	}
	n.dist[0], n.reached[0] = toll{}, true
	for {
		at := -1
		for v := range n.dist {
			if n.reached[v] && !n.done[v] && (at < 0 || n.dist[v].less(n.dist[at])) {
				at = v
			}
		}
		if at < 0 {
			return
		}
		n.done[at] = true
		if at == n.sink {
			return
		}
		base := n.dist[at].plus(n.potential[at])
		for _, i := range n.out[at] {
			a := &n.arcs[i]
			if a.room == 0 || n.done[a.to] {
				continue
			}
			d := base.plus(a.toll).minus(n.potential[a.to])
			if !n.reached[a.to] || d.less(n.dist[a.to]) {
				n.dist[a.to], n.reached[a.to], n.via[a.to] = d, true, i
			}
		}
	}
}

// assignment reads the flows off the network and spreads what did not fit.
func (n *network) assignment() Assignment {
	var a Assignment
	for i, d := range n.demands {
		flows := make([]Flow, 0, len(d.Routes))
		left := int64(0)
		for _, id := range n.out[1+i] {
			if id%2 == 1 { // the reverse of the arc from the source: what has flowed through
				left = max(d.Load, 1) - n.arcs[id].room
				continue
			}
			to := int(n.arcs[id].to) - 1 - len(n.demands)
			flows = append(flows, Flow{
				Scope: d.Scope, Backend: n.suppliers[to].Backend,
				Load: n.arcs[id^1].room, Late: n.arcs[id].toll.late > 0,
			})
		}
		if len(flows) == 0 {
			a.Homeless = append(a.Homeless, d.Scope)
			continue
		}
		n.overload(flows, left)
		for _, f := range flows {
			if f.Load == 0 {
				continue
			}
			if f.Late {
				a.Late += f.Load
			}
			a.Over += f.Over
			a.Flows = append(a.Flows, f)
		}
	}
	for i := range n.suppliers {
		for _, id := range n.out[1+len(n.demands)+i] {
			if id%2 == 0 {
				a.Cost += n.arcs[id].toll.price * n.arcs[id^1].room
			}
		}
	}
	return a
}

// overload spreads what found no room over the routes in proportion to the backends'
// capacities. Whole units that remain go one each to the routes with the largest remainder.
func (n *network) overload(flows []Flow, load int64) {
	if load <= 0 {
		return
	}
	total := 0.0
	share := make([]float64, len(flows))
	for i, f := range flows {
		// A backend without a limit is full only for this scope, by its route's capacity.
		share[i] = float64(n.suppliers[n.supplier(f.Backend)].Capacity)
		if share[i] == 0 {
			share[i] = float64(max(f.Load, 1))
		}
		total += share[i]
	}
	left := load
	order := make([]int, len(flows))
	for i := range flows {
		order[i] = i
		exact := float64(load) * share[i] / total
		flows[i].Over = min(int64(exact), left)
		left -= flows[i].Over
		share[i] = exact - float64(flows[i].Over)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(share[b], share[a]) })
	for i := 0; left > 0; i = (i + 1) % len(order) {
		flows[order[i]].Over++
		left--
	}
	for i := range flows {
		flows[i].Load += flows[i].Over
	}
}
