package sim

import "slices"

// League is every policy in every world.
type League struct {
	Worlds   []*World `json:"-"`
	Policies []Policy `json:"policies"`
	// Lines are in the order of the worlds; their results in that of the policies.
	Lines []Line `json:"lines"`
	// Sums are over all worlds, in the order of the policies.
	Sums []Sum `json:"sums"`
}

// Line is one world's results.
type Line struct {
	World   string   `json:"world"`
	Kind    Kind     `json:"kind"`
	About   string   `json:"about"`
	Assumes string   `json:"assumes,omitempty"`
	Results []Result `json:"results"`
}

// Sum is one policy over all worlds.
type Sum struct {
	Policy  string  `json:"policy"`
	Server  float64 `json:"server_minutes"`
	Hard    float64 `json:"hard_minutes"`
	Clients float64 `json:"client_minutes"`
	Moved   float64 `json:"moved_minutes"`
	Total   float64 `json:"total_minutes"`
	// Documented is Total without the worlds that assume more of others than they document.
	Documented     float64 `json:"documented_minutes"`
	FalseFailovers float64 `json:"false_failovers"`
	// Ratio is the median, over the worlds of kind hard, of the first policy's Hard minutes by
	// this one's; 0 when there are none.
	Ratio float64 `json:"median_hard_ratio"`
}

// Play runs every policy but Pointsman's without a quorum in every world. It takes some seconds for the library.
func Play(worlds []*World) (*League, error) {
	l := &League{Worlds: worlds, Policies: slices.DeleteFunc(Policies(),
		func(p Policy) bool { return p.Name == alone })}
	for _, w := range worlds {
		line := Line{World: w.Name, Kind: w.Kind, About: w.About, Assumes: w.Assumes}
		for _, p := range l.Policies {
			r, err := Run(w, p.Name)
			if err != nil {
				return nil, err
			}
			line.Results = append(line.Results, r)
		}
		l.Lines = append(l.Lines, line)
	}
	for i, p := range l.Policies {
		l.Sums = append(l.Sums, l.sum(i, p.Name))
	}
	return l, nil
}

func (l *League) sum(policy int, name string) Sum {
	s := Sum{Policy: name}
	var ratios []float64
	for _, line := range l.Lines {
		r := line.Results[policy]
		s.Server += r.Server
		s.Hard += r.Hard
		s.Clients += r.Clients
		s.Moved += r.Moved
		s.Total += r.Total()
		s.FalseFailovers += r.FalseFailovers
		if line.Assumes == "" {
			s.Documented += r.Total()
		}
		if line.Kind == Hard && r.Hard > 0 {
			ratios = append(ratios, line.Results[0].Hard/r.Hard)
		}
	}
	s.Ratio = median(ratios)
	return s
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	middle := len(list) / 2
	if len(list)%2 == 1 {
		return list[middle]
	}
	return (list[middle-1] + list[middle]) / 2
}
