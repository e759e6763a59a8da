//go:build !linux

package nodes_test

import "syscall"

// childAttributes are none where children can't be tied to this process.
func childAttributes() *syscall.SysProcAttr { return nil }
