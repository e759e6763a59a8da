package app

import (
	"maps"
	"slices"
	"strings"

	"pointsman/internal/admin/api"
	"pointsman/steering/control"
)

// loopStatus tells the admin API what the slow loop does.
func (p *parts) loopStatus() api.Loop {
	s := p.slow.Status()
	g := s.Guidance
	out := api.Loop{Active: s.Active, Leading: s.Leading, Leader: s.Leader, Epoch: g.Epoch, Seq: g.Seq,
		At: g.At, Interval: s.Interval.Seconds(), Problem: s.Problem, Limits: g.Limits,
		MonthGB: s.Months}
	for _, scope := range slices.SortedFunc(maps.Keys(g.Why), control.Scope.Compare) {
		out.Scopes = append(out.Scopes, api.LoopScope{Host: strings.TrimSuffix(scope.Host, "."),
			Place: scope.Place, Verdict: string(s.Verdicts[scope]), Gain: s.Gains[scope.Host],
			Shares: g.Splits[scope], Heavy: len(g.Traffic[scope]), Why: g.Why[scope]})
	}
	return out
}
