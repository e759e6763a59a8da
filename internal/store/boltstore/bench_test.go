package boltstore_test

import (
	"bytes"
	"path/filepath"
	"runtime"
	"testing"

	"pointsman/internal/store/boltstore"
)

// BenchmarkAppend measures one acknowledged (synced) record of 512 bytes, alone and with 32
// writers sharing commits.
func BenchmarkAppend(b *testing.B) {
	for name, writers := range map[string]int{"alone": 0, "32 writers": 32} {
		b.Run(name, func(b *testing.B) {
			s, err := boltstore.Open(boltstore.Config{Path: filepath.Join(b.TempDir(), "b.db")})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			value := bytes.Repeat([]byte("v"), 512)
			if writers == 0 {
				for b.Loop() {
					if _, err := s.Append(b.Context(), "log", value); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(writers / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Append(b.Context(), "log", value); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
