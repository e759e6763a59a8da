// Package dashboards embeds the Grafana dashboards and writes them to a folder. Nothing flows
// in; JSON files flow out. It owns no goroutine.
package dashboards

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

// FS holds the dashboards, one JSON file each.
//
//go:embed *.json
var FS embed.FS

// Export writes every dashboard into a folder, which it makes when missing, and returns the
// paths it wrote. Files of the same name are replaced.
func Export(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for dashboards: %w", err)
	}
	entries, err := FS.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("listing the dashboards: %w", err)
	}
	var paths []string
	for _, e := range entries {
		raw, err := FS.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading dashboard %s: %w", e.Name(), err)
		}
		path := filepath.Join(dir, e.Name())
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			return nil, fmt.Errorf("writing dashboard: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
