// Package api holds the admin API's wire types, its errors and its client. It is a leaf: the
// server, the command line, the console and the edge's provider all speak through it, and it
// knows none of them. It owns no goroutine.
package api
