package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// CheckServer returns what an operator should change about the server, in sentences, or
// nothing. It asks INFO alone, which hosted servers allow where they refuse CONFIG.
func (s *Store) CheckServer(ctx context.Context) []string {
	var text string
	err := s.call(ctx, func(ctx context.Context) (err error) {
		text, err = s.client.Info(ctx).Result()
		return err
	})
	if err != nil {
		return []string{fmt.Sprintf("the Redis server could not be checked: %v", err)}
	}
	return warnings(parseInfo(text))
}

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			info[name] = value
		}
	}
	return info
}

func warnings(info map[string]string) []string {
	var found []string
	warn := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		warn("maxmemory-policy is %s: the server may drop overrides and journals when its "+
			"memory is full; set noeviction", policy)
	}
	if info["aof_enabled"] == "0" {
		warn("appendonly is off: a restart of the server loses what it acknowledged; " +
			"set appendonly yes")
	}
	if role := info["role"]; role != "" && role != "master" {
		warn("the server is a replica: it takes no writes; use its primary's address")
	}
	if info["cluster_enabled"] == "1" {
		warn("the server is a cluster's member: it takes only the slots it owns")
	}
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		warn("the server says version %s: below 7.0 is not supported", version)
	}
	return found
}
