// Package privilege turns a process that root has started into one of an ordinary user that may
// bind ports below 1024 and nothing else that root may. The names of a user and a group flow in;
// nothing flows out, since the process goes on as a new run of its own program. The package
// owns no goroutine.
package privilege
