package nodes_test

import "syscall"

// childAttributes make children end with this process even when it is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
