package app

import (
	"io/fs"
	"os"

	"pointsman/steering"
	"pointsman/steering/control"
)

// OpenWith makes a node open its own store by f.
func OpenWith(o *Options, f func(string, int, fs.FileMode) (*os.File, error)) { o.openFile = f }

// Stages returns the names of what runs, stage by stage, in the order in which they stop.
func (a *App) Stages() (out [][]string) {
	for _, s := range a.parts.stages(a) {
		var names []string
		for _, r := range s.runs {
			names = append(names, r.name)
		}
		out = append(out, names)
	}
	return out
}

// Reopen tries keys again that could not be opened, as happens each minute.
func (a *App) Reopen() { a.reopen() }

// Follow hands guidance to the engine, as the slow loop does.
func (a *App) Follow(g control.Guidance) error { return a.parts.engine.SetGuidance(g) }

// Followed returns the guidance that the engine follows.
func (a *App) Followed() control.Guidance { return a.parts.engine.Guidance() }

// Shares returns the shares of a host in the table in force.
func (a *App) Shares(host string) []steering.Share { return a.parts.engine.Table().Shares(host) }
