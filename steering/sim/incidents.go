package sim

import (
	"embed"
	"fmt"
	"io/fs"
)

// files is the incident library: one world each, in the order of their names.
//
//go:embed incidents/*.json
var files embed.FS

// Incidents reads the library. Its order is fixed.
func Incidents() ([]*World, error) {
	names, err := fs.Glob(files, "incidents/*.json")
	if err != nil {
		return nil, fmt.Errorf("listing incidents: %w", err)
	}
	var list []*World
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading incident %s: %w", name, err)
		}
		w, err := Read(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, w)
	}
	return list, nil
}
