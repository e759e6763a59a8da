package app

import (
	"io/fs"
	"os"
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
