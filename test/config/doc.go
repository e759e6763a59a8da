// Package config holds the configurations that must be refused against the whole program: the
// command that checks a file, and a node that serves while the file under it goes bad. The
// corpus flows in from internal/config/testdata; nothing flows out. It has tests alone.
package config
