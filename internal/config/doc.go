// Package config reads Pointsman's configuration and names the line of every mistake. A YAML
// file, environment variables and flags flow in, in rising order of precedence; a Config flows
// out, or a list of findings, each with its place. The file is read once as a tree of nodes,
// which gives positions and strict types, and once through koanf, which merges the sources.
//
// The structs know YAML and nothing else: package app translates them for the other packages.
// Load is a function of its Options and of the secret files that the configuration names. The
// package owns no goroutine and keeps no state.
package config
