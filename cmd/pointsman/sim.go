package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/steering/sim"
)

// maxWorld is the largest world's file, in bytes.
const maxWorld = 1 << 20

func newSim() *cobra.Command {
	c := &cobra.Command{
		Use:   "sim",
		Short: "Replay incidents in virtual time, against other systems' defaults",
		Long: "Replay incidents in virtual time through Pointsman's own health and steering, and through\n" +
			"emulated default policies of other systems. No node is needed and nothing is sent. What is\n" +
			"lost is counted in user-minutes: one user for whom nothing works for one minute.",
		Example: "  pointsman sim league\n  pointsman sim run cdn-gone",
	}
	asGroup(c)
	c.AddCommand(newSimIncidents(), newSimRun(), newSimLeague())
	return c
}

func newSimIncidents() *cobra.Command {
	return &cobra.Command{
		Use:     "incidents [NAME]",
		Short:   "List the incident library, or show one as the file that `sim run` takes",
		Example: "  pointsman sim incidents cdn-gone >mine.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			worlds, err := sim.Incidents()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				w, err := incident(worlds, args[0])
				if err != nil {
					return exitError{exitUsage, err}
				}
				return printJSON(cmd.OutOrStdout(), w)
			}
			t := table(cmd.OutOrStdout(), "NAME KIND LASTS ABOUT")
			for _, w := range worlds {
				t.add(w.Name, w.Kind, span(time.Duration(w.Lasts)), w.About)
			}
			return t.flush("no incidents")
		},
	}
}

func newSimRun() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Replay a world of one's own, or an incident by its name, with every policy",
		Long: "Replay a world with every policy. FILE is a world in JSON, or the name of an incident.\n" +
			"Exit codes: 0 done, 1 failed, 2 usage or a world that was refused.",
		Example: "  pointsman sim run mine.json\n  pointsman sim run flapping --json",
		Args:    takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := readWorld(args[0])
			if err != nil {
				return exitError{exitUsage, err}
			}
			var results []sim.Result
			for _, p := range sim.Policies() {
				r, err := sim.Run(w, p.Name)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), results)
			}
			return writeRun(cmd.OutOrStdout(), w, results)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the curve of what failed")
	return c
}

func newSimLeague() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "league",
		Short:   "Replay the whole library with every policy, and sum up (takes about 10 s)",
		Example: "  pointsman sim league",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			worlds, err := sim.Incidents()
			if err != nil {
				return err
			}
			l, err := sim.Play(worlds)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), l)
			}
			return writeLeague(cmd.OutOrStdout(), l)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the curves of what failed")
	return c
}

// readWorld reads a world from a file or, when there is none, from the library.
func readWorld(name string) (*sim.World, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		worlds, err := sim.Incidents()
		if err != nil {
			return nil, err
		}
		return incident(worlds, name)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > maxWorld:
		return nil, fmt.Errorf("%s is larger than 1 MiB", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	w, err := sim.Read(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}

func incident(worlds []*sim.World, name string) (*sim.World, error) {
	for _, w := range worlds {
		if w.Name == name {
			return w, nil
		}
	}
	return nil, fmt.Errorf("there is no file and no incident %q; `pointsman sim incidents` lists them",
		name)
}

func writeRun(out io.Writer, w *sim.World, results []sim.Result) error {
	fmt.Fprintf(out, "%s: %s\n", clean(w.Name), clean(w.About))
	if w.Assumes != "" {
		fmt.Fprintf(out, "Assumed: %s.\n", clean(w.Assumes))
	}
	t := table(out, "POLICY TOTAL SERVER CLIENTS MOVED UNAVOIDABLE OUT-AFTER FALSE TRANSITIONS EMPTY")
	for _, r := range results {
		after := span(time.Duration(r.OutAfter))
		if r.OutAfter < 0 {
			after = "never"
		}
		t.add(r.Policy, grouped(r.Total()), grouped(r.Server), grouped(r.Clients), grouped(r.Moved),
			grouped(r.Unavoidable), after, fmt.Sprintf("%.1f", r.FalseFailovers),
			fmt.Sprintf("%.1f", r.Transitions), r.Empty)
	}
	return t.flush("no policies")
}

func writeLeague(out io.Writer, l *sim.League) error {
	head := "WORLD KIND"
	for _, p := range l.Policies {
		head += " " + strings.ToUpper(p.Name)
	}
	for _, part := range []struct {
		title string
		of    func(sim.Result) float64
	}{
		{"User-minutes lost, all that could be avoided", sim.Result.Total},
		{"of which until the right answer was given", func(r sim.Result) float64 { return r.Server }},
	} {
		fmt.Fprintln(out, part.title)
		t := table(out, head)
		for _, line := range l.Lines {
			row := []any{line.World, line.Kind}
			for _, r := range line.Results {
				row = append(row, grouped(part.of(r)))
			}
			t.add(row...)
		}
		if err := t.flush("no incidents"); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, "Sums")
	t := table(out, "POLICY TOTAL DOCUMENTED SERVER HARD CLIENTS MOVED FALSE POINTSMAN/HARD")
	for _, s := range l.Sums {
		t.add(s.Policy, grouped(s.Total), grouped(s.Documented), grouped(s.Server), grouped(s.Hard),
			grouped(s.Clients), grouped(s.Moved), fmt.Sprintf("%.1f", s.FalseFailovers), percent(s.Ratio))
	}
	if err := t.flush("no policies"); err != nil {
		return err
	}
	return writeBeaten(out, l)
}

// writeBeaten says where another policy lost less than the first.
func writeBeaten(out io.Writer, l *sim.League) error {
	fmt.Fprintln(out)
	for _, line := range l.Lines {
		first := line.Results[0]
		for _, r := range line.Results[1:] {
			if r.Total() < 0.995*first.Total() {
				fmt.Fprintf(out, "%s: %s loses %s less than %s.\n", line.World, r.Policy,
					percent(1-r.Total()/first.Total()), first.Policy)
			}
		}
	}
	_, err := fmt.Fprintln(out, "DOCUMENTED leaves out the worlds that assume more of others than they document.")
	return err
}

// grouped writes a number without a fraction, its digits in groups of three.
func grouped(v float64) string {
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
