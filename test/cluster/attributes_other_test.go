//go:build !linux

package cluster_test

import "syscall"

// childAttributes are none where children can't be tied to this process.
func childAttributes() *syscall.SysProcAttr { return nil }
