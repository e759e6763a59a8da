package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"pointsman/internal/config"
)

// FuzzLoad holds that nothing makes Load panic, and that a configuration which it takes has
// no key that the structs don't know, by the YAML library's own strict decoding.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(small), "POINTSMAN_DNS__LISTEN=127.0.0.1:1", "hosts[0].ttl", "1s")
	files, err := filepath.Glob("testdata/bad/[a-m]*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(must(f, file), "POINTSMAN_ZONES__0__NAME=x", "backends[4].probe.kind", "tcp")
	}
	f.Fuzz(func(t *testing.T, data []byte, variable, flag, value string) {
		cfg, report, err := config.Load(config.Options{
			Data: data, Name: "f", Env: append(corpusEnv(), variable),
			Overrides: map[string]any{flag: value},
		})
		if (cfg == nil) != (err != nil) || (err != nil) != (len(report.Mistakes) > 0) {
			t.Fatalf("config %v, error %v, %d mistakes", cfg != nil, err, len(report.Mistakes))
		}
		if err != nil {
			return
		}
		var keys map[string]any
		if err := yaml.Load(data, &keys); err != nil {
			t.Fatalf("taken, and refused by the library: %v", err)
		}
		for key := range keys {
			if !strings.Contains(topLevel, " "+key+" ") {
				t.Fatalf("the unknown key %q was taken", key)
			}
		}
	})
}

const topLevel = " node vantage roles state_dir log store dns probing zones backends pools " +
	"hosts providers edge purge admin "

// TestAnyUnknownKeyIsRefusedWhereverItStands puts a key that no section has at the end of a
// random mapping of the example.
func TestAnyUnknownKeyIsRefusedWhereverItStands(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Load([]byte(example(t)), &doc); err != nil {
		t.Fatal(err)
	}
	var maps []*yaml.Node
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			maps = append(maps, n)
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(&doc)
	env := []string{"CLOUDFLARE_TOKEN=x"}
	load := func() error {
		data, err := yaml.Dump(&doc)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = config.Load(config.Options{Data: data, Name: "f", Env: env})
		return err
	}
	if err := load(); err != nil || len(maps) < 30 {
		t.Fatalf("%d sections: %v", len(maps), err)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom(maps).Draw(t, "section")
		key := rapid.StringMatching(`[a-z_]{1,12}`).Draw(t, "key") + "9"
		before := n.Content
		n.Content = append(before[:len(before):len(before)],
			&yaml.Node{Kind: yaml.ScalarNode, Value: key},
			&yaml.Node{Kind: yaml.ScalarNode, Value: "v"})
		err := load()
		n.Content = before
		if err == nil || !strings.Contains(err.Error(), key+": unknown key") {
			t.Fatalf("%s: %v", key, err)
		}
	})
}
