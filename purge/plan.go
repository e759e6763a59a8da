package purge

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/providers"
)

// Form says how a provider's purge relates to what was asked.
type Form string

// The forms.
const (
	Exact   Form = "exact"   // what was asked
	Widened Form = "widened" // more than was asked, by the operator's leave
	// FormUnsupported: nothing is sent to this provider.
	FormUnsupported Form = "unsupported"
)

// Cut is the half-open range of a request's items that one call carries. Both are 0 for a
// purge of everything.
type Cut struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Planned is what one provider would be told.
type Planned struct {
	Provider string `json:"provider"`
	Form     Form   `json:"form"`
	// Reason tells what differs from the request and, when unsupported, what to do instead.
	// Empty when nothing does.
	Reason string `json:"reason,omitempty"`
	// Kind and Soft are what is sent; they can differ from what was asked.
	Kind    providers.Kind `json:"kind"`
	Soft    bool           `json:"soft,omitempty"`
	Batches []Cut          `json:"batches,omitempty"`
}

// Plan says what each asked provider would be told, in the order of targets. It sends nothing
// and reads nothing but its arguments; req is normalised.
func Plan(req Request, targets []Target) []Planned {
	var out []Planned
	for _, t := range targets {
		name := t.Provider.Name()
		if len(req.Providers) == 0 || slices.Contains(req.Providers, name) {
			out = append(out, planOne(req, t))
		}
	}
	return out
}

func planOne(req Request, t Target) Planned {
	caps := t.Provider.Capabilities()
	p := Planned{Provider: t.Provider.Name(), Form: Exact, Kind: req.Kind, Soft: req.Soft}
	var notes []string
	if !caps.Kinds[req.Kind].Native {
		kind, form, note := instead(req.Kind, caps, t)
		if form == FormUnsupported {
			return Planned{Provider: p.Provider, Form: form, Kind: req.Kind, Reason: note}
		}
		p.Kind, p.Form, notes = kind, form, append(notes, note)
	}
	way := caps.Kinds[p.Kind]
	if req.Soft && !way.Soft {
		if t.SoftFallback == SoftRefuse {
			return Planned{Provider: p.Provider, Form: FormUnsupported, Kind: req.Kind,
				Reason: fmt.Sprintf("has no soft purge by %s; ask for a hard one, or set "+
					"soft_fallback: hard for this provider", p.Kind)}
		}
		p.Soft, notes = false, append(notes,
			fmt.Sprintf("has no soft purge by %s: purged hard", p.Kind))
	}
	p.Reason = strings.Join(notes, "; ")
	p.Batches = cut(p.Kind, len(req.Items), way.MaxBatch)
	return p
}

// instead finds another kind that covers one which the provider lacks.
func instead(
	kind providers.Kind, caps providers.Capabilities, t Target,
) (providers.Kind, Form, string) {
	if kind == providers.Host && caps.Kinds[providers.Prefix].Native {
		return providers.Prefix, Exact, "sent as the prefix HOST/"
	}
	all := caps.Kinds[providers.Everything].Native
	narrow := kind == providers.Prefix || kind == providers.Host
	if narrow && all && t.AllowWiden {
		return providers.Everything, Widened,
			fmt.Sprintf("has no purge by %s: everything was purged", kind)
	}
	advice := "purge by " + offered(caps)
	if note := caps.Kinds[kind].Note; note != "" {
		advice = note
	}
	if narrow && all {
		advice += "; or set allow_widen: true for this provider to purge everything instead"
	}
	return "", FormUnsupported, fmt.Sprintf("has no purge by %s; %s", kind, advice)
}

// offered names the kinds that a provider has.
func offered(caps providers.Capabilities) string {
	var names []string
	for _, k := range providers.Kinds() {
		if caps.Kinds[k].Native {
			names = append(names, string(k))
		}
	}
	if len(names) == 0 {
		return "its own console: this provider has no purge at all"
	}
	return strings.Join(names, ", ")
}

// cut splits n items into calls of at most limit; a limit below 1 counts as 1.
func cut(kind providers.Kind, n, limit int) []Cut {
	if kind == providers.Everything {
		return []Cut{{}}
	}
	limit = max(limit, 1)
	var out []Cut
	for from := 0; from < n; from += limit {
		out = append(out, Cut{From: from, To: min(from+limit, n)})
	}
	return out
}

// itemsFor returns a range of a request's items in the form in which kind is sent.
func itemsFor(req Request, kind providers.Kind, c Cut) []string {
	if kind == providers.Everything {
		return nil
	}
	items := slices.Clone(req.Items[c.From:c.To])
	if req.Kind == providers.Host && kind == providers.Prefix {
		for i := range items {
			items[i] += "/"
		}
	}
	return items
}
