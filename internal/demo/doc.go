// Package demo runs the main job on loopback with nothing prepared: an origin, three stand-ins
// for commercial CDNs with purge APIs of their own, clients that resolve and fetch, and a real
// node in front of them. Nothing flows in but addresses; what flows out is traffic and the
// node's own status. Demo.Run owns every goroutine and leaves nothing behind.
package demo
